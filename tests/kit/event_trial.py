"""One trial of decoding and validating a batch of events by columns; everything follows from its seed."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import numpy as np

from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import EVENT_SCHEMA, MessageDecoder, WriterSchemas, encode
from auditlog_schemas.columnar_events import EventDecoder
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.fingerprints import hamba_fingerprint, schema_fingerprint
from auditlog_schemas.record import Record
from auditlog_schemas.resolution import resolve
from auditlog_schemas.rules import FIELD_RULES, require_limits, require_not_ahead
from auditlog_schemas.validate import BatchValidator
from auditlog_schemas.verdicts import VERDICTS
from kit.arrow_values import comparable, values_of
from kit.event_strategies import OCCURRED_MICROS, full_record, with_value
from kit.limit_cases import at_limit, one_beyond
from kit.random_avro import mutated

EVENT_PLAN: Final = resolve(EVENT_SCHEMA)
OLDER: Final = EVENT_SCHEMA | {"fields": [f for f in EVENT_SCHEMA["fields"] if f["name"] != "metadata"]}
CATALOG: Final = load_catalog()
VALUES: Final = [(rule.path, value) for rule in FIELD_RULES for value in (*at_limit(rule), *one_beyond(rule))]


class Lookup:
    """A registry that knows the event's schema as 7, an older one as 8, and one that does not fit as 9."""

    def schema_by_id(self, schema_id: int) -> Any:
        """Return the schema of an id."""
        return {7: EVENT_SCHEMA, 8: OLDER, 9: "string"}.get(schema_id)


def known_schemas() -> WriterSchemas:
    """Return two versions of the event's schema, each by fingerprint and by id."""
    return WriterSchemas(extra=[OLDER], lookup=Lookup())


_DECODER: Final = EventDecoder(known_schemas())
_ONE_BY_ONE: Final = MessageDecoder(known_schemas())
_VALIDATOR: Final = BatchValidator(CATALOG)


def event_framings(number: int, record: Record | None = None) -> list[bytes]:
    """Return one event in every framing and schema that is known."""
    new = record or full_record() | {"account_id": f"acc_{number}"}
    old = encode(new | {"metadata": {}})[10:-1]
    return [
        encode(new),
        encode(new, schema_id=7),
        b"\0\0\0\0\x08" + old,
        b"\xc3\x01" + schema_fingerprint(OLDER) + old,
        b"\xc3\x01" + hamba_fingerprint(OLDER) + old,
    ]


def event_trial(seed: int) -> None:
    """Decode and validate one random batch and compare it with the one-by-one path.

    Raises:
        AssertionError: a value or verdict differs.
    """
    random = Random(seed)
    messages: list[bytes | None] = []
    for number in range(random.choice([1, 3, 12])):
        record = full_record()
        for path, value in random.sample(VALUES, random.choice([0, 0, 1, 2])):
            record = with_value(record, path, value)
        if random.random() < 0.3:
            record["action"] = random.choice([*CATALOG.actions])
        framed = event_framings(number, record)
        messages += [mutated(random, m) if random.random() < 0.4 else m for m in framed]
    random.shuffle(messages)
    require_equal_events(messages)


def require_equal_events(messages: list[bytes | None]) -> None:
    """Compare decoding and validation by columns with the one-by-one path."""
    rules, records = [], []
    for message in messages:
        try:
            records.append(_ONE_BY_ONE.decode(message))
            rules.append("")
        except InvalidEvent as error:
            rules.append(error.rule)
    found = _DECODER.decode(messages)
    assert [VERDICTS[verdict].rule for verdict in found.verdict] == rules
    assert values_of(EVENT_PLAN, found.values) == [comparable(record) for record in records]
    received = np.full(len(records), OCCURRED_MICROS)
    verdicts = _VALIDATOR.validate(found.batch, received)
    assert [VERDICTS[verdict].rule for verdict in verdicts] == [_rule_of(record) for record in records]


def _rule_of(record: Record) -> str:
    try:
        require_limits(record)
        CATALOG.check(record)
        require_not_ahead(record["occurred_at"], OCCURRED_MICROS)
    except InvalidEvent as error:
        return error.rule
    return ""
