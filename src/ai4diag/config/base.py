"""YAML to frozen typed objects, with errors that name the file, the key and the nearest known one."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ai4diag.errors import ConfigError, did_you_mean


class Settings(BaseModel):
    """Base of every configuration object: frozen, and an unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            unknown = [str(key) for key in values if key not in cls.model_fields]
            if unknown:
                raise ValueError(f"unknown key '{unknown[0]}'. {did_you_mean(unknown[0], cls.model_fields)}")
        return values


S = TypeVar("S", bound=Settings)


def parse(kind: type[S], values: Any, where: str) -> S:
    """Turn plain values into `kind`.

    Args:
        kind: the settings class.
        values: what YAML gave.
        where: the file, named in errors.

    Raises:
        ConfigError: names the file, the key, what was found and what was expected.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        found = "" if isinstance(first["input"], Mapping) else f" (found {first['input']!r})"
        message = first["msg"].removeprefix("Value error, ")
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        said = f"{where}: {key + ': ' if key else ''}{message}{found}{more}"
        raise ConfigError(said if said.endswith((".", "?")) else f"{said}.") from None


def read_yaml(path: Path) -> Any:
    """Read YAML 1.2 as plain values: `1e-3` is a number, `no` is a string, a duplicate key is an error.

    Raises:
        ConfigError: the file is missing or is not valid YAML; the line is named.
    """
    try:
        return parse_yaml(Path(path).read_text(encoding="utf-8-sig"), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}.", "Save it as UTF-8.") from None


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML 1.2 text; `where` names it in errors.

    Raises:
        ConfigError: it is no YAML, or lists within lists too deep to be read.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(StringIO(text))
    except YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{where} is not valid YAML: {problem}") from None
    except RecursionError:
        raise ConfigError(f"{where} has lists or mappings in each other that are too deep to be read.") from None
