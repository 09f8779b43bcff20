from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVER = ("alembic", "fastapi", "fastapi_offline", "OpenSSL", "orjson", "prometheus_client", "psycopg", "sqlalchemy",
          "starlette", "uvicorn")  # fmt: skip
BLOCKED = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {SERVER!r}:
            raise ModuleNotFoundError(f"{{name}} is a package of the server", name=name)

sys.meta_path.insert(0, Blocked())
"""
COMMANDS = {
    "the agent's help": "sys.argv = ['trivet', 'agent', '--help']\nfrom trivet.cli.main import run\nrun()",
    "the whole agent": "import pkgutil, importlib, trivet.agent\n"
    "for found in pkgutil.walk_packages(trivet.agent.__path__, 'trivet.agent.'):\n"
    "    importlib.import_module(found.name)",
    "the whole signer": "import pkgutil, importlib, trivet.signer\n"
    "for found in pkgutil.walk_packages(trivet.signer.__path__, 'trivet.signer.'):\n"
    "    importlib.import_module(found.name)",
    "the client": "import trivet.client",
}


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + program], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", list(COMMANDS))
def test_the_base_install_needs_no_package_of_the_server(command: str, tmp_path: Path) -> None:
    done = run(COMMANDS[command], tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_block_blocks(tmp_path: Path) -> None:
    done = run("import trivet.web.app", tmp_path)
    assert "is a package of the server" in done.stderr
