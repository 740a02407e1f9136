"""Validation by columns gives the verdicts of the one-by-one checks."""

from __future__ import annotations

from io import BytesIO
from random import Random
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_schemas.catalog import Action, Catalog
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import EVENT_SCHEMA
from auditlog_schemas.columnar import ColumnarDecoder
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.limits import CLOCK_AHEAD_MAX_MICROS
from auditlog_schemas.record import Record
from auditlog_schemas.resolution import resolve
from auditlog_schemas.rules import FIELD_RULES, require_limits, require_not_ahead
from auditlog_schemas.validate import BatchValidator, validate
from auditlog_schemas.verdicts import VERDICTS
from kit.event_strategies import EVENTS, OCCURRED_MICROS, full_record, with_value
from kit.limit_cases import at_limit, one_beyond

BUILTIN = load_catalog()
DEMANDING = Catalog(
    {
        **BUILTIN.actions,
        "everything": Action(
            name="everything",
            group="Tests",
            entity_type="license",
            kind="tested",
            sentence="{actor}",
            version=3,
            changes_required=True,
            required_metadata=("manager", "source", ""),
            required_related=("order", "device"),
        ),
    },
    BUILTIN.entity_types,
)
DECODER = ColumnarDecoder(resolve(EVENT_SCHEMA))
PARSED = fastavro.parse_schema(EVENT_SCHEMA)


def batch_of(records: list[Record]) -> pa.RecordBatch:
    messages = []
    for record in records:
        out = BytesIO()
        fastavro.schemaless_writer(out, PARSED, record)
        messages.append(out.getvalue())
    decoded = DECODER.decode(messages)
    assert len(decoded.good) == len(records)
    return decoded.batch


def one_by_one(record: Record, received: int, catalog: Catalog) -> str:
    try:
        require_limits(record)
        catalog.check(record)
        require_not_ahead(record["occurred_at"], received)
    except InvalidEvent as error:
        return error.rule
    return ""


def require_equal(records: list[Record], received: list[int], catalog: Catalog = BUILTIN) -> None:
    expected = [one_by_one(*pair, catalog) for pair in zip(records, received, strict=True)]
    batch = batch_of(records)
    times = np.array(received, np.int64)
    validator = BatchValidator(catalog)
    assert [VERDICTS[v].rule for v in validator.validate(batch, times)] == expected
    # A slice of a batch shares its buffers: offsets must not be taken for those of the whole.
    part = validator.validate(batch.slice(1, max(len(records) - 2, 0)), times[1:][: max(len(records) - 2, 0)])
    assert [VERDICTS[v].rule for v in part] == expected[1:-1]


def received(records: list[Record]) -> list[int]:
    return [OCCURRED_MICROS] * len(records)


def all_values() -> list[tuple[str, Any]]:
    return [(rule.path, value) for rule in FIELD_RULES for value in (*at_limit(rule), *one_beyond(rule))]


def test_every_rule_at_its_limit_and_beyond() -> None:
    records = [with_value(full_record(), path, value) for path, value in all_values()]
    require_equal(records, received(records))
    # The same with a good event before and after each, as rows of one batch.
    mixed = [record for bad in records for record in (full_record(), bad, full_record())]
    require_equal(mixed, received(mixed))


def test_the_verdict_names_the_field() -> None:
    for number, rule in enumerate(FIELD_RULES):
        for value in one_beyond(rule):
            record = with_value(full_record(), rule.path, value)
            (verdict,) = validate(batch_of([record]), np.array(received([record])), BUILTIN)
            assert VERDICTS[verdict].rule == rule.name
            assert VERDICTS[verdict].field == FIELD_RULES[number].path


@pytest.mark.parametrize("seed", range(40))
def test_several_broken_rules_at_once(seed: int) -> None:
    random = Random(seed)
    records = []
    for _ in range(60):
        record = full_record()
        for path, value in random.sample(all_values(), random.choice([0, 1, 2, 3, 6])):
            record = with_value(record, path, value)
        records.append(record)
    require_equal(records, received(records))


def broken_by_catalog(random: Random) -> Record:
    """An event of a demanding action, or of a common one, with some of what it needs missing."""
    record = full_record() | {
        "action": random.choice(["everything", "everything", "device_reset", "order_created", "nothing"]),
        "action_version": random.choice([1, 3, 4]),
        "metadata": {key: "x" for key in ("manager", "source", "other") if random.random() < 0.7},
        "changes": full_record()["changes"] * random.choice([0, 1, 2]),
    }
    record["entity"] = {"type": random.choice(["license", "license", "order", "x"]), "id": "1", "name": None}
    record["related"] = [
        {"type": type_, "id": "1", "name": None}
        for type_ in ("order", "device", "license", "order")
        if random.random() < 0.7
    ]
    return record


@pytest.mark.parametrize("seed", range(40))
def test_catalog_rules(seed: int) -> None:
    random = Random(seed)
    records = [broken_by_catalog(random) for _ in range(60)]
    require_equal(records, received(records), DEMANDING)


def test_the_clock_is_checked_last() -> None:
    late = OCCURRED_MICROS - CLOCK_AHEAD_MAX_MICROS
    records = [full_record(), full_record(), full_record() | {"action": "x"}, full_record()]
    require_equal(records, [late, late - 1, late - 1, 1 << 62])
    far = [full_record() | {"occurred_at": micros} for micros in ((1 << 63) - 1, -(1 << 63), 0)]
    require_equal(far, received(far))


@settings(max_examples=30)
@given(st.lists(st.tuples(EVENTS, st.sampled_from([0, 0, 1, -CLOCK_AHEAD_MAX_MICROS - 1])), max_size=6))
def test_any_events(events: list[Any]) -> None:
    records = [event.to_record() for event, _ in events]
    names = list(BUILTIN.actions)
    for number, record in enumerate(records):
        record["action"] = names[(number + len(record["account_id"])) % len(names)]
        record["action_version"] %= 3
    times = [record["occurred_at"] + delay for record, (_, delay) in zip(records, events, strict=True)]
    require_equal(records, times)


def test_no_events() -> None:
    assert len(BatchValidator(BUILTIN).validate(batch_of([]), np.empty(0, np.int64))) == 0


def test_a_filtered_batch_is_validated_like_a_whole_one() -> None:
    records = [full_record() | {"related": [], "metadata": {}, "changes": []} for _ in range(3)]
    batch = batch_of(records).filter(pa.array([False, True, False]))
    (verdict,) = BatchValidator(BUILTIN).validate(batch, np.array([OCCURRED_MICROS]))
    assert VERDICTS[verdict].rule == "changes_missing"
