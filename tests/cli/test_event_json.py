"""An event as JSON: whatever is printed can be published again."""

import json
from typing import Any

import pytest

from auditlog_cli.event_json import event_json, json_value, parse_event
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.event import AuditEvent, Change

SMALLEST: dict[str, Any] = {
    "account_id": "acc_1",
    "action": "license_reset",
    "entity": {"type": "license", "id": "lic_1"},
    "actor": {"type": "platform_user", "id": "usr_1"},
}


def with_changes(*changes: dict[str, Any]) -> AuditEvent:
    return parse_event(SMALLEST | {"changes": list(changes)})


def test_missing_id_time_and_source_are_filled_in() -> None:
    first, second = parse_event(SMALLEST), parse_event(SMALLEST)
    assert first.event_id != second.event_id
    assert first.occurred_at.tzinfo is not None
    assert "source" not in SMALLEST


def test_values_become_json_text() -> None:
    event = with_changes({"field": "a", "before": 5, "after": "x"}, {"field": "b", "after": None})
    assert event.changes == (
        Change(field="a", before="5", after='"x"'),
        Change(field="b", before=None, after="null"),
    )


@pytest.mark.parametrize(
    "value", [0, 5, 1.5, "text", '"quoted"', True, None, [1, "a"], {"k": {"n": 10**30}}, "\x1b[31m"]
)
def test_a_value_survives_the_round_trip(value: object) -> None:
    event = with_changes({"field": "f", "before": value}, {"field": "g", "after": value})
    printed = json.loads(json.dumps(event_json(event)))
    assert printed["changes"] == [{"field": "f", "before": value}, {"field": "g", "after": value}]
    assert parse_event(printed) == event


@pytest.mark.parametrize("text", ["not json", "NaN", "1e999", "[" * 100_000, "1" * 5_000])
def test_text_that_is_not_json_stands_for_itself(text: str) -> None:
    assert json_value(text) == text


def test_what_storing_adds_is_skipped_when_read_back() -> None:
    event = parse_event(SMALLEST)
    stored = event_json(event) | {"received_at": "2026-01-01T00:00:00Z", "kafka": {"partition": 1}}
    assert parse_event(stored) == event


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"color": 1}, "color"),
        ({"changes": [1]}, "changes.0"),
        ({"changes": [{"before": 1}]}, "changes.0.field"),
        ({"actor": {"type": "robot", "id": "r"}}, "actor.type"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"entity": {"type": "license", "id": ""}}, "entity.id"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(SMALLEST | change)
    assert caught.value.field == field
