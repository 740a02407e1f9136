"""Every field rule at its limit and one beyond it, driven by the list of rules itself."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from auditlog_schemas import limits
from auditlog_schemas.codec import MessageDecoder, WriterSchemas, encode
from auditlog_schemas.errors import FieldLimitExceeded, InvalidEvent
from auditlog_schemas.event import AuditEvent
from auditlog_schemas.record import Record
from auditlog_schemas.rules import FIELD_RULES, FieldRule, require_limits, require_not_ahead
from kit.event_strategies import full_record, with_value
from kit.events import make_event
from kit.limit_cases import at_limit, one_beyond


def cases(values: Any) -> list[Any]:
    return [
        pytest.param(rule, value, id=f"{rule.name}-{rule.path}-{index}")
        for rule in FIELD_RULES
        for index, value in enumerate(values(rule))
    ]


def concrete(path: str) -> str:
    """The path as an error names it for the item that `with_value` changed."""
    return path.replace("[]", "[0]")


@pytest.mark.parametrize(("rule", "value"), cases(at_limit))
def test_a_value_at_the_limit_passes(rule: FieldRule, value: Any) -> None:
    record = with_value(full_record(), rule.path, value)
    require_limits(record)
    assert AuditEvent.parse(as_json(record)).to_record() == record
    assert MessageDecoder(WriterSchemas()).decode(encode(record)) == record


@pytest.mark.parametrize(("rule", "value"), cases(one_beyond))
def test_a_value_one_beyond_fails_by_its_rule(rule: FieldRule, value: Any) -> None:
    record = with_value(full_record(), rule.path, value)
    with pytest.raises(FieldLimitExceeded) as caught:
        require_limits(record)
    assert caught.value.rule == rule.name
    assert caught.value.field.startswith(concrete(rule.path).partition("{")[0])
    if rule.path.startswith("context."):
        # What came with a request is cut instead: tests/schemas/test_fitting.py.
        require_limits(AuditEvent.parse(as_json(record)).to_record())
        return
    with pytest.raises(InvalidEvent, match=rule.name):
        AuditEvent.parse(as_json(record))


def as_json(record: Record) -> dict[str, Any]:
    """The record as `AuditEvent.parse` takes it: the time as a datetime's text would be, here in seconds."""
    seconds, micros = divmod(record["occurred_at"], 1_000_000)
    return record | {"occurred_at": f"{seconds}.{micros:06}"}


def test_the_rules_stand_in_the_order_of_the_fields() -> None:
    order = list(full_record())
    positions = [
        order.index(rule.path.partition("[")[0].partition("{")[0].partition(".")[0]) for rule in FIELD_RULES
    ]
    assert positions == sorted(positions)


def test_the_first_broken_rule_wins() -> None:
    record = with_value(with_value(full_record(), "account_id", "\0" * 300), "metadata{key}", "")
    with pytest.raises(FieldLimitExceeded, match="id_too_long"):
        require_limits(record)


def test_absent_values_keep_every_rule() -> None:
    for rule in FIELD_RULES:
        if rule.path.split(".")[-1] in ("name", "email", "impersonator_id", "ip", "user_agent", "request_id"):
            require_limits(with_value(full_record(), rule.path, None))


@pytest.mark.parametrize("path", ["account_id", "action", "entity.id", "actor.id", "context.request_id"])
@pytest.mark.parametrize("control", ["\0", "\r\n"])
def test_nul_and_line_breaks_in_ids_are_named(path: str, control: str) -> None:
    with pytest.raises(FieldLimitExceeded) as caught:
        require_limits(with_value(full_record(), path, f"id{control}x"))
    assert str(caught.value) == (
        f"{path}: contains the control character U+{ord(control[0]):04X} at position 2 [id_control_character]"
    )


def test_control_characters_are_fine_in_texts() -> None:
    for path in ("entity.name", "actor.name", "changes[].after", "metadata{value}"):
        require_limits(with_value(full_record(), path, "two\r\nlines\0"))


def test_the_clock_may_be_five_minutes_ahead() -> None:
    received = 1_760_000_000_000_000
    require_not_ahead(received + limits.CLOCK_AHEAD_MAX_MICROS, received)
    with pytest.raises(InvalidEvent, match="occurred_too_far_ahead"):
        require_not_ahead(received + limits.CLOCK_AHEAD_MAX_MICROS + 1, received)


def test_the_model_checks_limits_when_it_is_made() -> None:
    record = full_record() | {"event_id": uuid4(), "account_id": ""}
    with pytest.raises(FieldLimitExceeded, match="id_empty"):
        AuditEvent(**(record | {"occurred_at": as_json(record)["occurred_at"]}))


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(InvalidEvent, match=r"colour: .*wrong_type"):
        AuditEvent.parse(as_json(full_record()) | {"colour": "red"})


@pytest.mark.parametrize("sequence", [(1 << 63) - 1, 1 << 63, 1 << 64])
def test_a_sequence_that_avro_cannot_hold_is_refused_by_its_field(sequence: int) -> None:
    source = {"service": "s", "instance_id": "i", "sequence": sequence}
    if sequence < 1 << 63:
        encode(make_event(source=source).to_record())
        return
    with pytest.raises(ValidationError, match=r"source\.sequence"):
        make_event(source=source)


@pytest.mark.parametrize("version", [(1 << 31) - 1, 1 << 31])
def test_a_version_that_avro_cannot_hold_is_refused_by_its_field(version: int) -> None:
    if version < 1 << 31:
        encode(make_event(action_version=version).to_record())
        return
    with pytest.raises(ValidationError, match="action_version"):
        make_event(action_version=version)
