"""What is wrong with a setting, said with the name of its environment variable or of the file it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from auditlog_schemas.errors import ConfigError

FILE_BYTES_MAX: Final = 16 << 20
"""Of a file that a setting names."""

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


def read_file(kind: str, path: Path) -> str:
    """Return the text of a file that a setting names.

    Args:
        kind: what it is, for messages.
        path: where.

    Raises:
        ConfigError: it cannot be read, is too large or not UTF-8; the message names it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{kind} {path}: cannot be read: {reason}") from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{kind} {path}: has more than {FILE_BYTES_MAX:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{kind} {path}: is not UTF-8: {error.reason} at byte {error.start}") from error
