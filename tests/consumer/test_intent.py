"""Intents: what one consumer announces another reads, and nobody else's metadata is taken for one."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer.intent import WINDOW_MAX, Intent
from auditlog_storage.tables import OFFSET_MAX

TOPIC_ID = UUID(int=7)
FIELDS: dict[str, Any] = {
    "topic_id": str(TOPIC_ID),
    "first": 5,
    "last": 9,
    "window": 1_000,
    "deadline_millis": 1_780_000_000_000,
    "leader_epoch": 7,
}


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    longs = st.integers(0, (1 << 63) - 1)
    first = draw(st.integers(0, OFFSET_MAX))
    last = draw(st.integers(first, OFFSET_MAX))
    window, epoch = draw(st.integers(0, WINDOW_MAX)), draw(st.integers(-1, (1 << 31) - 1))
    return Intent(draw(st.uuids()), first, last, window, draw(longs), epoch)


@given(intents())
def test_what_is_announced_is_read(intent: Intent) -> None:
    metadata = intent.to_metadata()
    assert Intent.from_metadata(metadata) == intent
    assert len(metadata.encode()) <= 200
    assert metadata.isascii()


def test_the_metadata_is_plain_json() -> None:
    intent = Intent(TOPIC_ID, 5, 9, 1_000, 1_780_000_000_000, 7)
    assert json.loads(intent.to_metadata()) == FIELDS


def test_fields_of_a_later_version_are_passed_over() -> None:
    found = Intent.from_metadata(json.dumps(FIELDS | {"more": [1]}))
    assert found == Intent(TOPIC_ID, 5, 9, 1_000, 1_780_000_000_000, 7)


@pytest.mark.parametrize(
    "changed",
    [
        {"topic_id": "no uuid"},
        {"topic_id": 7},
        {"topic_id": None},
        {"first": "5"},
        {"first": 5.0},
        {"first": True},
        {"first": -1},
        {"first": 10},
        {"last": 1 << 63},
        {"last": (1 << 63) - 1},
        {"last": None},
        {"window": -1},
        {"window": WINDOW_MAX + 1},
        {"deadline_millis": -1},
        {"deadline_millis": 1e12},
        {"leader_epoch": -2},
        {"leader_epoch": 1 << 31},
        {"leader_epoch": True},
        {"leader_epoch": None},
    ],
)
def test_a_wrong_field_makes_it_no_intent(changed: dict[str, Any]) -> None:
    assert Intent.from_metadata(json.dumps(FIELDS | changed)) is None


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_missing_field_makes_it_no_intent(name: str) -> None:
    fields = {key: value for key, value in FIELDS.items() if key != name}
    assert Intent.from_metadata(json.dumps(fields)) is None


@pytest.mark.parametrize(
    "metadata",
    ["", " ", "hello", "{", "[]", "[1]", "7", "null", '"x"', "{}", "NaN", "1e999", "\0", "[" * 4_000],
)
def test_somebody_elses_metadata_is_no_intent(metadata: str) -> None:
    assert Intent.from_metadata(metadata) is None


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_metadata_can_be_read(metadata: str) -> None:
    assert Intent.from_metadata(metadata) is None
