"""What is wrong with a setting, said with the name of its environment variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from auditlog_schemas.errors import ConfigError

_NO_NAMES: Final[Mapping[str, str]] = {}


def bad_setting(error: ValidationError, prefix: str, names: Mapping[str, str] = _NO_NAMES) -> ConfigError:
    """Return the error to raise for settings that pydantic refused. It never shows a value.

    Args:
        error: pydantic's.
        prefix: of the variables.
        names: variables that are not called prefix and name of the field.
    """
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    what = "is not set" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    return ConfigError(f"{names.get(field, prefix + field.upper())}: {what}")
