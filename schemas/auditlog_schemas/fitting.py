"""Text that came with a request, made to fit: whoever sends it must not make an event fail.

What is longer than its limit is cut and ends in `CUT`; what no event can hold becomes `REPLACED`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from auditlog_schemas.limits import ID_BYTES_MAX, TEXT_BYTES_MAX
from auditlog_schemas.rules import CONTROL_CHARACTER

CUT: Final = "…"
REPLACED: Final = "\ufffd"

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NOT_IN_IDS: Final = re.compile(f"{_SURROGATE.pattern}|{CONTROL_CHARACTER.pattern}")


def fitting_text(value: Any) -> Any:
    """Return a text of at most `TEXT_BYTES_MAX`; bytes are read as UTF-8, any other type stays as it is."""
    return _fitting(value, TEXT_BYTES_MAX, _SURROGATE)


def fitting_identifier(value: Any) -> Any:
    """Return an identifier of at most `ID_BYTES_MAX` without control characters; None for an empty one."""
    return None if value in ("", b"") else _fitting(value, ID_BYTES_MAX, _NOT_IN_IDS)


def _fitting(value: Any, bytes_max: int, wrong: re.Pattern[str]) -> Any:
    if not isinstance(value, str | bytes | bytearray):
        return value
    # Looked at no further than to see that it is too long: it may have megabytes.
    start = value[: bytes_max + 1]
    text = start if isinstance(start, str) else start.decode("utf-8", "replace")
    text = wrong.sub(REPLACED, text)
    encoded = text.encode()
    if len(encoded) <= bytes_max:
        return text
    return encoded[: bytes_max - len(CUT.encode())].decode("utf-8", "ignore") + CUT
