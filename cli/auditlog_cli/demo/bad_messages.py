"""Messages that must be refused: eight kinds, made from good ones, and the rule that each of them breaks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from auditlog_schemas.codec import SINGLE_OBJECT_HEADER_BYTES, SINGLE_OBJECT_MARK, encode
from auditlog_schemas.event import AuditEvent
from auditlog_schemas.record import Record

EACH: Final = 25


@dataclass(frozen=True, slots=True)
class BadMessage:
    """A Kafka message, and the rule that its dead letter must name."""

    key: bytes
    value: bytes
    rule: str


Spoil: TypeAlias = Callable[[AuditEvent, Record, bytes, random.Random], bytes]
"""Makes a bad message of an event, given its record, its good message and a source of randomness."""


def _wrong_entity_type(event: AuditEvent, record: Record, *_: object) -> bytes:
    wrong = "device" if event.entity.type != "device" else "order"
    return encode(record | {"entity": record["entity"] | {"type": wrong}})


def _changes_missing(_event: AuditEvent, record: Record, *_: object) -> bytes:
    license = {"type": "license", "id": "lic_00000000", "name": None}
    return encode(record | {"action": "license_updated", "entity": license, "changes": []})


_HEADER: Final = SINGLE_OBJECT_HEADER_BYTES

KINDS: Final[dict[str, Spoil]] = {
    "empty_message": lambda *_: b"",
    # Neither framing starts like this.
    "unknown_framing": lambda _event, _record, _good, rng: b"{" + rng.randbytes(60),
    "truncated": lambda _event, _record, good, _rng: good[:-1],
    "trailing_bytes": lambda _event, _record, good, rng: good + rng.randbytes(3),
    "unknown_fingerprint": lambda _event, _record, good, rng: (
        SINGLE_OBJECT_MARK + rng.randbytes(8) + good[_HEADER:]
    ),
    "unknown_action": lambda _event, record, *_: encode(record | {"action": "license_transferred"}),
    "wrong_entity_type": _wrong_entity_type,
    "changes_missing": _changes_missing,
}
"""How to spoil an event, by the rule that is broken."""


class Spoiler:
    """Makes bad messages out of events that pass by."""

    def __init__(self, events: int, each: int = EACH, seed: int = 7) -> None:
        """Spread ``each`` messages of every kind evenly over a day of `events`."""
        self._rng = random.Random(seed)  # noqa: S311 - a reproducible play, no secret
        self._left = [rule for rule in KINDS for _ in range(each)]
        self._rng.shuffle(self._left)
        self.total = len(self._left)
        self._every = max(events // self.total, 1)

    def from_event(self, number: int, event: AuditEvent) -> Iterator[BadMessage]:
        """Yield a bad message now and then; `number` counts the events from 1 on."""
        if self._left and number % self._every == 0:
            rule = self._left.pop()
            record = event.to_record()
            value = KINDS[rule](event, record, encode(record), self._rng)
            yield BadMessage(event.account_id.encode(), value, rule)
