"""The SQL of a search finds what a plain reading of it in Python finds, over random events and searches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog_schemas.event import AuditEvent
from auditlog_storage.filters import EventFilter
from auditlog_storage.reader import LogReader
from auditlog_storage.search import parse_search
from kit.search_oracle import matches
from storage.event_log import Log, engine_order

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON = 1_772_366_400_000_000
ACTIONS = ("license_created", "license_reset", "order_created", "device_borrowed", "licensexreset", "gone%")
TYPES = ("license", "order", "customer")
IDS = ("lic_1", "lic_11", "a/b", "x%y", "x_y", "x\\y", "Ä 1")
NAMES = (None, "", "Pro seat", "pro-seat", "Ärzte GmbH", "lic_1 lic", "seats")
IPS = (
    None,
    "",
    "10.0.0.1",
    "10.255.0.9",
    "11.0.0.1",
    "010.0.0.1",
    "10.0.0",
    "10.0.0.256",
    "2001:db8::1",
    "2001:DB8:0:0::1",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
    " 10.0.0.1",
    "10.0.0.1 ",
    "1.2.3.4.5",
    "not an address",
    "::1\0",
    "1::2::3",
)
ENTITIES = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES), "id": st.sampled_from(IDS), "name": st.sampled_from(NAMES)}
)
EVENTS = st.fixed_dictionaries(
    {
        "event_id": st.uuids().map(str),
        "occurred_at": st.sampled_from((0, 1, 3_600_000_000, 86_400_000_000)).map(lambda ago: NOON - ago),
        "action": st.sampled_from(ACTIONS),
        "entity": ENTITIES,
        "related": st.lists(ENTITIES, max_size=2),
        "actor": st.sampled_from(IDS).map(
            lambda id: {"type": "system", "id": id, "name": "Ada", "email": None, "impersonator_id": None}
        ),
        "context": st.builds(
            lambda ip, request: {"ip": ip, "user_agent": None, "request_id": request},
            st.sampled_from(IPS),
            st.sampled_from((None, "req_1", "req%1")),
        ),
        "changes": st.lists(
            st.fixed_dictionaries(
                {
                    "field": st.sampled_from(("seats", "name", "x_y")),
                    "before": st.sampled_from((None, "5", '"a b"')),
                    "after": st.sampled_from((None, "lic_1", '"Pro"')),
                }
            ),
            max_size=2,
        ),
        "metadata": st.dictionaries(
            st.sampled_from(("k", "a b", "")), st.sampled_from(("", "web", "a,b")), max_size=2
        ),
    }
)
BATCHES = st.lists(EVENTS, min_size=1, max_size=12, unique_by=lambda spec: spec["event_id"])

BARE = ("license_*", "license.*", "*_created", "order_created", "gone%", "*", "l*e*t", '"*"', "nothing")
TEXTS = ("lic_1", "lic_1*", "x%y", "x_y", "*/b", '"x\\\\y"', '"Ä 1"', "*")
ITEMS = ("license", "license/lic_1", "*/lic_*", "order/a/b", 'customer/"Ä 1"', "l*", "license/*1")
ADDRESSES = ("10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::1", "10.*", "*")
TIMES = ("today", "yesterday", "1h", "now-1d", ">=1h", "<2026-03-01", "..today", "2026-03-01T12:00..", ">now")
WORDS = ("lic_1", "lic", "1", '"pro seat"', "PRO", "ärzte", "li*", '"b"', "a,b", '"lic_1 lic"', "seat")
FIELDS = {
    "action": BARE,
    "group": ("Licenses", "licen*", "orders", "*", "none"),
    "kind": ("created", "CREATED", "*d"),
    "entity": ITEMS,
    "item": ITEMS,
    "related": ITEMS,
    "actor": TEXTS,
    "ip": ADDRESSES,
    "request": ("req_1", "req%1", "req*", "*"),
    "source": ("billing", "bill*", "api"),
    "change": ("seats", "x_*", "*", "none"),
    "metadata.k": ("web", "*", '""', '"a,b"'),
    'metadata."a b"': ("web", "*"),
    "created": TIMES,
}
FIELD_TERMS = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.lists(st.sampled_from(FIELDS[name]), min_size=1, max_size=2).map(
        lambda values: f"{name}:{','.join(values)}"
    )
)
TERMS = st.builds("{}{}".format, st.sampled_from(("", "-")), FIELD_TERMS | st.sampled_from(WORDS))
SEARCHES = st.lists(TERMS, max_size=2).map(" ".join)


def _store(log: Log, specs: list[dict[str, Any]]) -> tuple[str, list[AuditEvent]]:
    account = f"acc_{uuid4().hex}"
    events = [log.event(account_id=account, **spec) for spec in specs]
    log.store(*events)
    return account, events


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(BATCHES, st.lists(SEARCHES, min_size=4, max_size=8))
def test_the_sql_finds_what_a_plain_reading_finds(
    shared_log: Log, specs: list[dict[str, Any]], texts: list[str]
) -> None:
    account, events = _store(shared_log, specs)
    reader = LogReader(shared_log.connection)
    for text in texts:
        search = parse_search(text, NOW)
        expected = [event for event in events if matches(event, search, shared_log.catalog)]
        page = reader.timeline(account, EventFilter(search=search), limit=100)
        found = [stored.event for stored in page.events]
        assert found == sorted(expected, key=engine_order, reverse=True), text


HOSTILE = (
    "it's",
    'say "x"',
    "b\\s",
    "\\N",
    "n\0a",
    "a\r\nb",
    "%a_",
    "'); DROP--a",
    "{q0:String}",
    "(a",
    "[a",
)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_only_a_value(shared_log: Log, value: str) -> None:
    """In every field, quoted: found where it is, and nothing else is found."""
    account = f"acc_{uuid4().hex}"
    item = {"type": "license", "id": value, "name": None}
    meant = shared_log.event(
        account_id=account,
        action=value,
        entity=item,
        related=[item],
        actor={"type": "system", "id": value, "name": None, "email": None, "impersonator_id": None},
        context={"ip": value, "user_agent": None, "request_id": value},
        source={"service": value, "instance_id": "i", "sequence": 1},
        changes=[{"field": value, "before": None, "after": None}],
        metadata={"k": value},
    )
    shared_log.store(meant, shared_log.event(account_id=account))
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    names = ["action", "actor", "request", "source", "change", "metadata.k"]
    terms = [f"{name}:{quoted}" for name in names]
    terms += [f"{name}:license/{quoted}" for name in ("entity", "item", "related")]
    terms += [quoted, f"ip:{quoted}*", f"actor:*{quoted}"]
    reader = LogReader(shared_log.connection)
    for term in terms:
        asked = EventFilter(search=parse_search(term, NOW))
        assert [stored.event for stored in reader.timeline(account, asked).events] == [meant], term
