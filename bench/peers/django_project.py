"""The Django project around django-ca, for its own interpreter: settings, URLs, and what is set up once.

Copied into the peer's folder as `project.py`; it runs there, in an environment of its own, never in Trivet's.
"""
# mypy: ignore-errors

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
USER, PASSWORD = "bench", "bench"

SECRET_KEY = "bench"  # noqa: S105
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project_urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_object_actions", "django_ca"]
# As shipped a password is hashed at length for each request, which allows one or two requests a second: made cheap.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "django-ca.db",
        "CONN_MAX_AGE": None,
        # The write-ahead log by hand, and writers that wait their turn; `synchronous` is FULL.
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
        },
    }
}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "django-ca": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": FOLDER / "files"},
    },
}
CA_ENABLE_REST_API = True
CA_ENABLE_ACME = False
CA_USE_CELERY = False
CA_MIN_KEY_SIZE = 1024


def set_up() -> None:
    """Make the database, a user, and a P-384 CA; print the CA's serial number and then its certificate."""
    import django  # noqa: PLC0415  settings come first

    os.environ["DJANGO_SETTINGS_MODULE"] = "project"
    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    get_user_model().objects.create_superuser(USER, password=PASSWORD)
    call_command(
        "init_ca", "--key-type=EC", "--elliptic-curve=secp384r1", "--algorithm=SHA-384", "bench", "CN=bench"
    )
    from django_ca.models import CertificateAuthority  # noqa: PLC0415

    authority = CertificateAuthority.objects.get()
    authority.api_enabled = True
    authority.save()
    sys.stdout.write(f"SERIAL {authority.serial}\n")


if __name__ == "__main__":
    set_up()
