"""Which consumer group records a topic: decided once, however many ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from auditlog_storage.claims import Claims
from auditlog_storage.connection import Connection
from storage.event_log import Log

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 30, tzinfo=UTC)
GROUPS = [f"group_{number}" for number in range(8)]


def claim(log: Log, topic_id: UUID, group: str, takes_over: str | None = None) -> str:
    return Claims(log.connection).claim(topic_id, group, takes_over, NOW)


def rows(log: Log, topic_id: UUID) -> list[tuple[int, str]]:
    sql = "SELECT number, consumer_group FROM audit_claims WHERE topic_id = {topic_id:UUID} ORDER BY ALL"
    return log.connection.query_rows(sql, {"topic_id": topic_id})


def test_who_claims_first_holds_a_topic(log: Log) -> None:
    topic_id, other = uuid4(), uuid4()
    assert claim(log, topic_id, "first") == "first"
    assert claim(log, topic_id, "second") == "first"
    assert claim(log, topic_id, "first") == "first"
    assert rows(log, topic_id) == [(1, "first")]
    assert claim(log, other, "second") == "second"


def test_a_group_takes_the_place_of_the_one_it_names_and_of_no_other(log: Log) -> None:
    topic_id = uuid4()
    claim(log, topic_id, "first")
    assert claim(log, topic_id, "second", takes_over="third") == "first"
    assert claim(log, topic_id, "second", takes_over="first") == "second"
    assert claim(log, topic_id, "first") == "second"
    assert rows(log, topic_id) == [(1, "first"), (2, "second")]


def test_of_groups_that_claim_at_once_one_holds_and_all_know_which(log: Log) -> None:
    start = threading.Barrier(len(GROUPS))

    def at_once(topic_id: UUID, takes_over: str | None) -> Callable[[str], str]:
        def ask(group: str) -> str:
            with Connection(log.connection.settings) as own:
                start.wait()
                return Claims(own).claim(topic_id, group, takes_over, NOW)

        return ask

    with ThreadPoolExecutor(len(GROUPS)) as threads:
        for _ in range(5):
            topic_id = uuid4()
            [holder] = set(threads.map(at_once(topic_id, None), GROUPS))
            assert rows(log, topic_id) == [(1, holder)]
            claim(log, topic_id, "next", takes_over=holder)
            [holder] = set(threads.map(at_once(topic_id, "next"), GROUPS))
            assert rows(log, topic_id)[1:] == [(2, "next"), (3, holder)]


def test_a_token_whose_row_was_never_stored_keeps_nobody_out(log: Log) -> None:
    """As after a crash between a token and its part."""
    topic_id = uuid4()
    for tries in range(3):
        assert claim(log, topic_id, f"group_{tries}") == f"group_{tries}"
        log.connection.command("ALTER TABLE audit_claims DELETE WHERE 1 SETTINGS mutations_sync = 2")
        assert rows(log, topic_id) == []
