"""How the three layers of settings are put on top of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from trivet.settings.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from trivet.settings.file import SettingsFile

ENVIRONMENT_PREFIX = "TRIVET_"


class LayeredSettings(BaseSettings):
    """Settings of one table: from its file, the environment and flags, in order of increasing force.

    Attributes:
        TABLE: the table of the file.
        SECRET: keys that a file may not hold.
        PATHS: keys whose values are paths.
        EITHER: groups of keys that stand for the same; a stronger layer that has one silences the others.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )
    TABLE: ClassVar[str]
    SECRET: ClassVar[frozenset[str]] = frozenset()
    PATHS: ClassVar[frozenset[str]] = frozenset()
    EITHER: ClassVar[tuple[frozenset[str], ...]] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the layers to `load`, which knows of each value where it came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @classmethod
    def load(cls, file: SettingsFile | None, **flags: object) -> Self:
        """Put the layers together.

        Args:
            file: the settings file, where there is one.
            flags: values from the command line; None stands for a flag that was not given.

        Raises:
            SettingsError: a value is missing or wrong.
        """
        layers = {
            "flag": {name: value for name, value in flags.items() if value is not None},
            "environment": EnvSettingsSource(cls)(),
            "file": file.table(cls.TABLE, set(cls.model_fields), cls.SECRET, cls.PATHS) if file else {},
        }
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for layer, found in layers.items():
            fresh = {name: value for name, value in found.items() if not cls._is_silenced(name, values)}
            values |= fresh
            origins |= {name: _origin(layer, cls.TABLE, name, file) for name in fresh}
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(_faults(error, origins, cls.TABLE, file)) from None

    @classmethod
    def _is_silenced(cls, name: str, stronger: Mapping[str, object]) -> bool:
        return name in stronger or any(name in group and group & stronger.keys() for group in cls.EITHER)


def _origin(layer: str, table: str, name: str, file: SettingsFile | None) -> str:
    match layer:
        case "flag":
            return "--" + name.replace("_", "-")
        case "environment":
            return ENVIRONMENT_PREFIX + name.upper()
        case _:
            return f"{file.path if file else 'the settings file'}: [{table}] {name}"


def _faults(error: ValidationError, origins: Mapping[str, str], table: str, file: SettingsFile | None) -> str:
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        name = str(fault["loc"][0])
        if fault["type"] == "missing":
            where = str(file.path) if file else "a settings file (`trivet init` makes one)"
            variable = ENVIRONMENT_PREFIX + name.upper()
            faults.append(f"{name} is not set: put it in [{table}] of {where}, or set {variable}")
        else:
            faults.append(f"{origins[name]}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(faults)
