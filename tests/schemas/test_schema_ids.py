"""What is kept of a registry's answers: how long, how many, and in which words."""

from __future__ import annotations

import time
from typing import Any

import pytest

from auditlog_schemas import schema_ids
from auditlog_schemas.codec import EVENT_SCHEMA
from auditlog_schemas.errors import RegistryUnavailable
from auditlog_schemas.plan import Record
from auditlog_schemas.schema_ids import NO_REGISTRY, UNKNOWN, SchemaIds, Unusable


class Registry:
    def __init__(self) -> None:
        self.schemas: dict[int, Any] = {7: EVENT_SCHEMA, 9: "string"}
        self.asked: list[int] = []

    def schema_by_id(self, schema_id: int) -> Any:
        self.asked.append(schema_id)
        return self.schemas.get(schema_id)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def ids(registry: Registry) -> SchemaIds:
    return SchemaIds(registry, EVENT_SCHEMA)


def test_nothing_is_known_before_it_was_asked_for(registry: Registry, ids: SchemaIds) -> None:
    assert [ids.known(schema_id) for schema_id in (7, 8, 9)] == [None] * 3
    assert registry.asked == []


def test_plans_and_unusable_schemas_are_kept(registry: Registry, ids: SchemaIds) -> None:
    for _ in range(2):
        assert isinstance(ids.ask(7), Record)
        incompatible = ids.ask(9)
    assert registry.asked == [7, 9]
    assert isinstance(incompatible, Unusable)
    assert incompatible.rule == "schema_incompatible"
    assert ids.known(7) is ids.ask(7)
    assert ids.known(9) == incompatible


def test_an_id_is_unknown_for_a_second_and_usable_once_it_is_registered(
    registry: Registry, ids: SchemaIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert ids.ask(8) is UNKNOWN
    registry.schemas[8] = EVENT_SCHEMA
    now += 0.9
    assert ids.ask(8) is ids.known(8) is UNKNOWN
    assert registry.asked == [8]
    now += 0.2
    assert ids.known(8) is None
    assert isinstance(ids.ask(8), Record)
    assert registry.asked == [8, 8]


def test_a_flood_of_one_unknown_id_costs_a_request_a_second(
    registry: Registry, ids: SchemaIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(10_000):
        now += 0.001
        assert ids.ask(8) is UNKNOWN
    assert 10 <= len(registry.asked) <= 11


def test_what_is_remembered_is_bounded_and_the_oldest_give_way(
    registry: Registry, ids: SchemaIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_ids, "PLANS_MAX", 3)
    monkeypatch.setattr(schema_ids, "UNUSABLE_IDS_MAX", 3)
    registry.schemas |= dict.fromkeys(range(100, 105), EVENT_SCHEMA) | {9: "string"}
    for schema_id in (*range(100, 105), 9, *range(200, 202)):
        ids.ask(schema_id)
    assert [ids.known(schema_id) is not None for schema_id in range(100, 105)] == [False] * 2 + [True] * 3
    assert ids.known(9) is not None
    ids.ask(202)
    assert ids.known(9) is None
    assert [ids.known(schema_id) for schema_id in range(200, 203)] == [UNKNOWN] * 3
    ids.ask(200)
    ids.ask(203)
    assert ids.known(200) is None


def test_a_registry_that_is_away_leaves_an_id_open(ids: SchemaIds, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(schema_id: int) -> Any:
        raise RegistryUnavailable(f"no answer about {schema_id}")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "schema_by_id", lambda _, schema_id: away(schema_id))
        with pytest.raises(RegistryUnavailable):
            ids.ask(7)
    assert ids.known(7) is None
    assert isinstance(ids.ask(7), Record)


def test_without_a_registry_every_id_is_unusable() -> None:
    ids = SchemaIds(None, EVENT_SCHEMA)
    assert ids.known(7) is ids.ask(7) is NO_REGISTRY


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\ud800", "x" * 1_000_000, "\u202eevil"])
def test_what_a_schema_says_about_itself_fits_into_one_line(
    registry: Registry, ids: SchemaIds, name: str
) -> None:
    registry.schemas[10] = {"type": "record", "name": name, "fields": []}
    registry.schemas[11] = name
    registry.schemas[12] = {"type": "record", "name": "AuditEvent", "fields": [{"name": name, "type": name}]}
    for schema_id in (10, 11, 12):
        answer = ids.ask(schema_id)
        assert isinstance(answer, Unusable)
        assert answer.why.isprintable()
        assert len(answer.why.encode()) < 2_000
