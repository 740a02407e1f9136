"""Every search of docs/searching.md is understood, and its examples find their events."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from auditlog_storage.filters import EventFilter
from auditlog_storage.reader import LogReader
from auditlog_storage.search import parse_search
from auditlog_storage.search.fields import FIELDS
from auditlog_storage.search.parse import TERMS_MAX, TEXT_CHARACTERS_MAX, VALUES_MAX
from storage.event_log import Log

DOCUMENT = (Path(__file__).parents[2] / "docs" / "searching.md").read_text("utf-8")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
# The first cell of a row may name several searches.
SEARCHES = [
    text
    for row in re.findall(r"^\| (`.*?) \|", DOCUMENT, re.M)
    for text in re.findall(r"`([^`]+)`", row)
    if text not in {*FIELDS, "metadata.KEY"}
]
EXAMPLES = re.findall(r"^\| `(.+?)` \|", DOCUMENT.split("## Examples")[1], re.M)


def test_the_document_has_searches() -> None:
    assert len(SEARCHES) >= 20
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize("text", SEARCHES)
def test_a_search_is_understood(text: str) -> None:
    assert parse_search(text, NOW).terms


def test_every_field_and_limit_is_named() -> None:
    named = set(re.findall(r"^\| `([a-z]+)(?:\.KEY)?` \|", DOCUMENT.split("## Fields")[1], re.M))
    assert named == set(FIELDS)
    for limit in (f"{TEXT_CHARACTERS_MAX:,} characters", f"{TERMS_MAX} terms", f"{VALUES_MAX} values"):
        assert limit in DOCUMENT


def _november(log: Log, account: str) -> None:
    def event(day: int, **fields: Any) -> None:
        when = datetime(2026, 11, day, 9, tzinfo=UTC)
        micros = int(when.timestamp()) * 1_000_000
        log.store(log.event(account_id=account, occurred_at=micros, **fields))

    other = {"type": "license", "id": "lic_42", "name": None}
    ada = {"type": "platform_user", "id": "usr_7", "name": None, "email": None, "impersonator_id": None}
    order = {"type": "order", "id": "ord_1", "name": "A pro seat"}
    v6 = {"ip": "2001:DB8::7", "user_agent": None, "request_id": None}
    event(2, action="license_reset", related=[], changes=[], metadata={})
    event(3, entity=other, actor=ada, related=[], metadata={})
    event(4, action="order_deleted", entity=order, context=v6, related=[], changes=[])
    event(5)


EXPECTED = ([2], [3], [5], [4], [4], [5])


@pytest.mark.integration
def test_the_examples_find_their_events(shared_log: Log) -> None:
    account = f"acc_{uuid4().hex}"
    _november(shared_log, account)
    reader = LogReader(shared_log.connection)
    found = [
        [
            stored.event.occurred_at.day
            for stored in reader.timeline(account, EventFilter(search=parse_search(text, NOW))).events
        ]
        for text in EXAMPLES
    ]
    assert found == list(EXPECTED)
