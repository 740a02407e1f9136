"""Reading events from JSON lines, each with its line number and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from auditlog_cli.event_input import parse_event
from auditlog_schemas.errors import InvalidEvent

if TYPE_CHECKING:
    from auditlog_schemas.event import AuditEvent

LINE_BYTES_MAX: Final = 1024 * 1024
"""An event has at most 256 KiB; escaped as JSON it can be some times as long."""


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line: its number from 1 on, and either the event or the problem.

    Attributes:
        has_source: the line names its own source, which is to be kept.
    """

    number: int
    event: AuditEvent | None = None
    has_source: bool = False
    problem: InvalidEvent | None = None


def read_event_lines(stream: BinaryIO) -> Iterator[EventLine]:
    """Yield every line that is not blank."""
    for number, line in _lines(stream):
        if len(line) > LINE_BYTES_MAX:
            detail = f"has more than {LINE_BYTES_MAX:,} bytes"
            yield EventLine(number, problem=InvalidEvent("line_too_long", "", detail))
            continue
        if not line.strip():
            continue
        try:
            value = _object(line)
            yield EventLine(number, parse_event(value), has_source="source" in value)
        except InvalidEvent as problem:
            yield EventLine(number, problem=problem)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield lines with their numbers; of a line that is too long only its beginning."""
    number = 0
    while line := stream.readline(LINE_BYTES_MAX + 2):
        number += 1
        rest = line
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = stream.readline(LINE_BYTES_MAX + 2)
        yield number, line.rstrip(b"\r\n")


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise InvalidEvent("not_json", "", f"{error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidEvent("not_json", "", f"cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidEvent("not_an_object", "", f"is a JSON {type(value).__name__}, an event is an object")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
