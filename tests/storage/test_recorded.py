"""How old a first page's view of the ledger is, and who waits for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import pytest

from auditlog_schemas.errors import StorageUnavailable
from auditlog_storage.account_query import AccountQuery
from auditlog_storage.ledger_ends import LedgerEnd
from auditlog_storage.recorded import Recorded

TOPIC = UUID(int=1)
WAIT_SECONDS_MAX = 10.0


@dataclass
class Ledger:
    """A ledger of one partition that grows by one with each look, and can hold up or fail its readers."""

    looks: int = 0
    open: threading.Event = field(default_factory=threading.Event)
    fails: bool = False

    def __post_init__(self) -> None:
        self.open.set()

    def ledger_ends(self) -> list[LedgerEnd]:
        assert self.open.wait(WAIT_SECONDS_MAX)
        if self.fails:
            raise StorageUnavailable("no answer")
        self.looks += 1
        return [LedgerEnd("t", TOPIC, 0, 0, self.looks, datetime.now(UTC))]

    def recorded(self, age_seconds_max: float) -> Recorded:
        return Recorded(cast(AccountQuery, self), age_seconds_max)


def end(recorded: Recorded) -> int:
    return recorded.all_accounts().ends[TOPIC, 0]


def grow_older(recorded: Recorded, seconds: float) -> None:
    recorded._read_at -= seconds


def until(recorded: Recorded, wanted: int) -> None:
    """Ask again and again until an end shows."""
    give_up = time.monotonic() + WAIT_SECONDS_MAX
    while end(recorded) != wanted:
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_without_an_age_each_question_reads() -> None:
    recorded = Ledger().recorded(0)
    assert [end(recorded) for _ in range(3)] == [1, 2, 3]


def test_a_young_view_is_shared() -> None:
    ledger = Ledger()
    recorded = ledger.recorded(60)
    assert [end(recorded) for _ in range(3)] == [1, 1, 1]
    assert ledger.looks == 1


def test_an_ageing_view_is_read_anew_while_nobody_waits() -> None:
    ledger = Ledger()
    recorded = ledger.recorded(60)
    assert end(recorded) == 1
    grow_older(recorded, 31)
    ledger.open.clear()
    # The ledger does not answer, and these do.
    assert [end(recorded) for _ in range(5)] == [1] * 5
    ledger.open.set()
    until(recorded, 2)
    assert ledger.looks == 2


def test_a_view_that_is_too_old_is_waited_for() -> None:
    recorded = Ledger().recorded(60)
    assert end(recorded) == 1
    grow_older(recorded, 61)
    assert end(recorded) == 2


def test_what_fails_beside_is_raised_when_it_is_waited_for() -> None:
    ledger = Ledger()
    recorded = ledger.recorded(60)
    assert end(recorded) == 1
    ledger.fails = True
    grow_older(recorded, 31)
    assert [end(recorded) for _ in range(5)] == [1] * 5
    grow_older(recorded, 30)
    with pytest.raises(StorageUnavailable):
        end(recorded)
    ledger.fails = False
    assert end(recorded) == 2
