"""The demonstration's day is valid, complete and the same every time."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from auditlog_cli.demo.bad_messages import KINDS, Spoiler
from auditlog_cli.demo.day import Day
from auditlog_cli.demo.names import ACCOUNTS
from auditlog_cli.demo.repertoire import REPERTOIRE
from auditlog_consumer.judge import Judge
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import WriterSchemas
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.event import AuditEvent
from auditlog_schemas.rules import require_limits

END = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)
CATALOG = load_catalog()
# All but those in which only the audit log itself takes part.
ACTED = {name for name, action in CATALOG.actions.items() if action.group != "Audit Log"}


@pytest.fixture(scope="module")
def day() -> tuple[Day, list[AuditEvent]]:
    made = Day(END, events=8_000)
    return made, list(made.events())


def test_every_action_has_a_part() -> None:
    assert {part.action for part in REPERTOIRE} == ACTED


def test_the_day_is_complete(day: tuple[Day, list[AuditEvent]]) -> None:
    made, events = day
    assert len(events) == 8_000
    assert len({event.event_id for event in events}) == 8_000
    assert Counter(event.account_id for event in events) == made.sizes
    assert {event.action for event in events} == ACTED
    assert len(ACCOUNTS) == len(made.sizes) == 20


def test_every_event_is_valid_and_of_the_last_24_hours(day: tuple[Day, list[AuditEvent]]) -> None:
    _, events = day
    for event in events:
        require_limits(event.to_record())
        CATALOG.check(event.to_record())
        assert "?" not in CATALOG.sentence(event)
    times = [event.occurred_at for event in events]
    assert times == sorted(times)
    assert END - timedelta(hours=24) <= times[0]
    assert times[-1] <= END


def test_accounts_are_skewed(day: tuple[Day, list[AuditEvent]]) -> None:
    sizes = list(day[0].sizes.values())
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 15 * sizes[-1]


def test_the_same_day_comes_again() -> None:
    first, second = (list(Day(END, events=300).events()) for _ in range(2))
    assert first == second
    assert first != list(Day(END, events=300, seed=1).events())


def test_the_story_is_a_license_with_an_eventful_day(day: tuple[Day, list[AuditEvent]]) -> None:
    made, events = day
    account, license_id = made.story()
    history = [
        event
        for event in events
        if event.account_id == account
        and license_id in (event.entity.id, *(item.id for item in event.related))
    ]
    assert history[0].action == "license_created"
    assert 6 <= len(history) <= 12
    assert len({event.action for event in history}) >= 5


def test_each_bad_message_breaks_its_rule(day: tuple[Day, list[AuditEvent]]) -> None:
    _, events = day
    judge = Judge(WriterSchemas(), CATALOG)
    spoiler = Spoiler(len(events))
    found: Counter[str] = Counter()
    for number, event in enumerate(events, 1):
        for bad in spoiler.from_event(number, event):
            with pytest.raises(InvalidEvent) as caught:
                judge.read(bad.value, int(END.timestamp() * 1000))
            assert caught.value.rule == bad.rule
            found[bad.rule] += 1
    assert found == dict.fromkeys(KINDS, 25)
    assert spoiler.total == 200
