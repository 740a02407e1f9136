"""Properties: pages and filters over random data equal the obvious computation in Python."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog_schemas.event import AuditEvent
from auditlog_storage.filters import EventFilter, Item
from auditlog_storage.reader import LogReader
from storage.event_log import Log, engine_order

pytestmark = [pytest.mark.integration, pytest.mark.long]

START = datetime(2026, 3, 1, tzinfo=UTC)
ACTIONS = ("license_created", "license_updated", "order_created", "customer_deleted")
TYPES = ("license", "order", "customer")
IDS = ("1", "2", "3")
WHENS = (0, 1, 2, 3_600_000_000, 86_400_000_000)

ENTITIES = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES), "id": st.sampled_from(IDS), "name": st.none()}
)
SPECS = st.fixed_dictionaries(
    {
        "event_id": st.uuids().map(str),
        "occurred_at": st.sampled_from(WHENS).map(lambda after: 1_772_323_200_000_000 + after),
        "action": st.sampled_from(ACTIONS),
        "entity": ENTITIES,
        "related": st.lists(ENTITIES, max_size=2),
        "actor": st.sampled_from(IDS).map(
            lambda id: {"type": "api_key", "id": id, "name": None, "email": None, "impersonator_id": None}
        ),
    }
)
BATCHES = st.lists(st.lists(SPECS, max_size=25), min_size=1, max_size=3).filter(
    lambda batches: len({spec["event_id"] for specs in batches for spec in specs}) == sum(map(len, batches))
)
MOMENTS = st.none() | st.sampled_from(WHENS).map(lambda after: START + timedelta(microseconds=after))
GROUP_OF = {"Licenses": ACTIONS[:2], "Orders": ACTIONS[2:3], "Customers": ACTIONS[3:]}

FILTERS = (
    st.builds(
        EventFilter,
        actions=st.lists(st.sampled_from(ACTIONS), max_size=2).map(tuple),
        groups=st.lists(st.sampled_from(sorted(GROUP_OF)), max_size=2).map(tuple),
        actor_id=st.none() | st.sampled_from(IDS),
        entity_type=st.none() | st.sampled_from(TYPES),
        entity_id=st.none() | st.sampled_from(IDS),
        item=st.none() | st.builds(Item, st.sampled_from(TYPES), st.sampled_from(IDS)),
        since=MOMENTS,
    )
    | st.just(EventFilter())
    | st.builds(EventFilter, until=MOMENTS)
)


def _matches(event: AuditEvent, asked: EventFilter) -> bool:
    items = {(item.type, item.id) for item in (event.entity, *event.related)}
    in_groups = {action for group in asked.groups for action in GROUP_OF[group]}
    return (
        (not asked.actions or event.action in asked.actions)
        and (not asked.groups or event.action in in_groups)
        and asked.actor_id in (None, event.actor.id)
        and asked.entity_type in (None, event.entity.type)
        and asked.entity_id in (None, event.entity.id)
        and (asked.item is None or (asked.item.type, asked.item.id) in items)
        and (asked.since is None or event.occurred_at >= asked.since)
        and (asked.until is None or event.occurred_at < asked.until)
    )


def _store(log: Log, batches: list[list[dict[str, Any]]]) -> tuple[str, list[AuditEvent]]:
    account = f"acc_{uuid4().hex}"
    events = [[log.event(account_id=account, **spec) for spec in specs] for specs in batches]
    for batch in events:
        log.store(*batch)
    return account, [event for batch in events for event in batch]


def _all_pages(reader: LogReader, account: str, asked: EventFilter, limit: int) -> list[AuditEvent]:
    found: list[AuditEvent] = []
    cursor = None
    while True:
        page = reader.timeline(account, asked, limit, cursor)
        found += [stored.event for stored in page.events]
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page.events) == limit


FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FEW
@given(BATCHES, st.integers(1, 9))
def test_pages_are_the_sorted_list(shared_log: Log, batches: list[list[dict[str, Any]]], limit: int) -> None:
    account, events = _store(shared_log, batches)
    expected = sorted(events, key=engine_order, reverse=True)
    assert _all_pages(LogReader(shared_log.connection), account, EventFilter(), limit) == expected


@FEW
@given(BATCHES, st.lists(FILTERS, min_size=3, max_size=6), st.integers(2, 9))
def test_filters_choose_the_same_events_as_python(
    shared_log: Log, batches: list[list[dict[str, Any]]], questions: list[EventFilter], limit: int
) -> None:
    reader = LogReader(shared_log.connection)
    account, events = _store(shared_log, batches)
    for asked in questions:
        chosen = [event for event in events if _matches(event, asked)]
        expected = sorted(chosen, key=engine_order, reverse=True)
        assert _all_pages(reader, account, asked, limit) == expected
        assert reader.counts_by_action(account, asked) == Counter(event.action for event in chosen)
        actions = Counter(event.action for event in chosen)
        facet = reader.facet(account, asked, "action", 100)
        assert {each.value: each.events for each in facet.values} == actions
        assert (facet.distinct, facet.total) == (len(actions), len(chosen))
        histogram = reader.histogram(account, asked)
        assert histogram.total == len(chosen)
        for bar in histogram.bars:
            end = bar.start + timedelta(seconds=histogram.bar_seconds)
            assert bar.events == sum(bar.start <= event.occurred_at < end for event in chosen)


def test_equal_times_are_paged_by_id(shared_log: Log) -> None:
    """ClickHouse compares the second half of a UUID first; text order would lose or repeat events."""
    ids = [UUID(int=high << 64 | low) for high in (0, 1, 2**63) for low in (0, 1, 2**63)]
    account, events = _store(shared_log, [[{"event_id": str(id)} for id in ids]])
    expected = sorted(events, key=engine_order, reverse=True)
    assert expected != sorted(events, key=lambda event: str(event.event_id), reverse=True)
    assert _all_pages(LogReader(shared_log.connection), account, EventFilter(), 2) == expected
