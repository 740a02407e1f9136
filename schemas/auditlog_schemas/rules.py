"""The rules an event must keep, stated once and in order; the first broken one is the verdict.

`FIELD_RULES` is data: the one-by-one check here and the vectorised check over Arrow columns both walk
this list. A path names fields with dots; ``changes[]`` stands for each item of a list, ``metadata{key}``
and ``metadata{value}`` for each key and value of a map.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from auditlog_schemas import limits
from auditlog_schemas.errors import FieldLimitExceeded, InvalidEvent
from auditlog_schemas.record import Record


class Test(Enum):
    """What a rule looks at; the value breaks the rule when the test says yes."""

    __test__ = False

    EMPTY = "empty"
    BYTES_OVER = "more UTF-8 bytes than the limit"
    CONTROL = "contains a control character (Unicode Cc)"
    COUNT_OVER = "more items than the limit"
    BELOW = "smaller than the limit"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One rule about one field: `name` goes into verdicts, headers and metrics."""

    name: str
    path: str
    test: Test
    limit: int = 0


def _identifier(path: str) -> tuple[FieldRule, ...]:
    return (
        FieldRule("id_empty", path, Test.EMPTY),
        FieldRule("id_too_long", path, Test.BYTES_OVER, limits.ID_BYTES_MAX),
        FieldRule("id_control_character", path, Test.CONTROL),
    )


def _text(path: str) -> FieldRule:
    return FieldRule("text_too_long", path, Test.BYTES_OVER, limits.TEXT_BYTES_MAX)


def _entity(path: str) -> tuple[FieldRule, ...]:
    return (*_identifier(f"{path}.type"), *_identifier(f"{path}.id"), _text(f"{path}.name"))


FIELD_RULES: Final[tuple[FieldRule, ...]] = (
    *_identifier("account_id"),
    FieldRule("occurred_too_early", "occurred_at", Test.BELOW, limits.OCCURRED_AT_MIN_MICROS),
    *_identifier("action"),
    FieldRule("action_version_not_positive", "action_version", Test.BELOW, 1),
    *_entity("entity"),
    FieldRule("too_many_related", "related", Test.COUNT_OVER, limits.RELATED_MAX),
    *_entity("related[]"),
    *_identifier("source.service"),
    *_identifier("source.instance_id"),
    FieldRule("sequence_negative", "source.sequence", Test.BELOW, 0),
    *_identifier("actor.id"),
    _text("actor.name"),
    _text("actor.email"),
    *_identifier("actor.impersonator_id"),
    _text("context.ip"),
    _text("context.user_agent"),
    *_identifier("context.request_id"),
    FieldRule("too_many_changes", "changes", Test.COUNT_OVER, limits.CHANGES_MAX),
    *_identifier("changes[].field"),
    FieldRule("change_value_too_long", "changes[].before", Test.BYTES_OVER, limits.CHANGE_VALUE_BYTES_MAX),
    FieldRule("change_value_too_long", "changes[].after", Test.BYTES_OVER, limits.CHANGE_VALUE_BYTES_MAX),
    FieldRule("too_many_metadata_keys", "metadata", Test.COUNT_OVER, limits.METADATA_KEYS_MAX),
    FieldRule("metadata_key_empty", "metadata{key}", Test.EMPTY),
    FieldRule("metadata_key_too_long", "metadata{key}", Test.BYTES_OVER, limits.METADATA_KEY_BYTES_MAX),
    FieldRule("metadata_key_control_character", "metadata{key}", Test.CONTROL),
    FieldRule("metadata_value_too_long", "metadata{value}", Test.BYTES_OVER, limits.METADATA_VALUE_BYTES_MAX),
)

CONTROL_CHARACTER: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


def require_limits(record: Record) -> None:
    """Check a record against `FIELD_RULES`.

    Raises:
        FieldLimitExceeded: the first broken rule, with the field's path and what was found.
    """
    for rule, values in _COMPILED:
        for path, value in values(record):
            if value is not None and _BROKEN[rule.test](value, rule.limit):
                raise FieldLimitExceeded(rule.name, path, _DETAIL[rule.test](value, rule.limit))


def require_not_ahead(occurred_micros: int, received_micros: int) -> None:
    """Check that the event's clock is at most five minutes ahead of the time the broker received it.

    Raises:
        InvalidEvent: rule ``occurred_too_far_ahead``.
    """
    ahead = occurred_micros - received_micros
    if ahead > limits.CLOCK_AHEAD_MAX_MICROS:
        allowed = limits.CLOCK_AHEAD_MAX_MICROS // 1_000_000
        found = f"{ahead / 1e6:.3f} s after the message's Kafka timestamp, allowed are {allowed} s"
        raise InvalidEvent("occurred_too_far_ahead", "occurred_at", found)


def _bytes_over(value: str, limit: int) -> bool:
    return len(value) > limit or (len(value) * 4 > limit and _byte_count(value) > limit)


def _byte_count(value: str) -> int:
    # Lone surrogates cannot be encoded to UTF-8; they count as 3 bytes and are refused by the encoder.
    return len(value.encode("utf-8", "surrogatepass"))


_BROKEN: Final[dict[Test, Callable[[Any, int], bool]]] = {
    Test.EMPTY: lambda value, _: not value,
    Test.BYTES_OVER: _bytes_over,
    Test.CONTROL: lambda value, _: CONTROL_CHARACTER.search(value) is not None,
    Test.COUNT_OVER: lambda value, limit: len(value) > limit,
    Test.BELOW: lambda value, limit: value < limit,
}

_DETAIL: Final[dict[Test, Callable[[Any, int], str]]] = {
    Test.EMPTY: lambda _, __: "is empty, needs at least 1 byte",
    Test.BYTES_OVER: lambda value, limit: f"has {_byte_count(value):,} bytes, allowed are {limit:,}",
    Test.CONTROL: lambda value, _: _describe_control(value),
    Test.COUNT_OVER: lambda value, limit: f"has {len(value):,} items, allowed are {limit:,}",
    Test.BELOW: lambda value, limit: f"is {value:,}, must be at least {limit:,}",
}


def _describe_control(value: str) -> str:
    found = CONTROL_CHARACTER.search(value)
    assert found is not None
    return f"contains the control character U+{ord(found[0]):04X} at position {found.start()}"


def _values(path: str) -> Callable[[Record], Iterator[tuple[str, Any]]]:
    """Compile a rule's path into a function that yields (concrete path, value) of a record."""
    if path.endswith("{key}"):
        return lambda record: ((f"metadata[{key!r:.60}]", key) for key in record["metadata"])
    if path.endswith("{value}"):
        return lambda record: ((f"metadata[{key!r:.60}]", value) for key, value in record["metadata"].items())
    if "[]." in path:
        outer, inner = path.split("[].")
        return lambda record: (
            (f"{outer}[{index}].{inner}", item[inner]) for index, item in enumerate(record[outer])
        )
    if "." in path:
        outer, inner = path.split(".")
        return lambda record: iter(((path, record[outer][inner]),))
    return lambda record: iter(((path, record[path]),))


_COMPILED: Final = tuple((rule, _values(rule.path)) for rule in FIELD_RULES)
