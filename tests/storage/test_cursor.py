from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_schemas.errors import BadFilter
from auditlog_storage.cursor import Cursor, Position, decode_cursor, encode_cursor
from auditlog_storage.filters import EventFilter, Item
from auditlog_storage.sealed import Seal
from auditlog_storage.snapshot import Snapshot

SEAL = Seal(lambda: bytes(range(32)))
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CURSORS = st.builds(
    Cursor,
    st.builds(Position, st.integers(-(2**63), 2**63 - 1), st.uuids()),
    st.booleans(),
    st.none() | st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),
    st.builds(
        Snapshot,
        st.dictionaries(
            st.tuples(st.uuids(), st.integers(0, 2**31 - 1)), st.integers(0, 2**63 - 1), max_size=5
        ),
        st.frozensets(st.uuids(), max_size=2),
    ),
)
PLACE = Cursor(
    Position(1_772_366_400_000_001, UUID("0199c3a8-7f00-7abc-8def-0123456789ab")), False, None, Snapshot({})
)
FILTER = EventFilter(
    actions=("license_created", "license_deleted"),
    actor_id="usr_1",
    item=Item("license", "lic_1"),
    since=datetime(2026, 1, 1, tzinfo=UTC),
)


@given(CURSORS, st.text(min_size=1, max_size=20))
def test_comes_back(cursor: Cursor, account_id: str) -> None:
    token = encode_cursor(SEAL, cursor, account_id, FILTER)
    assert decode_cursor(SEAL, token, account_id, FILTER) == cursor
    assert token.replace("-", "").replace("_", "").isalnum()


@given(CURSORS, st.integers(0, 120), st.characters())
def test_any_changed_character_is_refused(cursor: Cursor, place: int, character: str) -> None:
    token = encode_cursor(SEAL, cursor, "acc_1", FILTER)
    changed = token[:place] + character + token[place + 1 :]
    if changed != token:
        with pytest.raises(BadFilter, match=r"^cursor: "):
            decode_cursor(SEAL, changed, "acc_1", FILTER)


@pytest.mark.parametrize(
    "other",
    [
        EventFilter(),
        replace(FILTER, actions=("license_created",)),
        replace(FILTER, actor_id="usr_2"),
        replace(FILTER, actor_id=None, entity_id="usr_1"),
        replace(FILTER, item=Item("license", "lic_2")),
        replace(FILTER, since=datetime(2026, 1, 1, 0, 0, 0, 1, UTC)),
        replace(FILTER, since=None, until=datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_another_filter_is_refused(other: EventFilter) -> None:
    token = encode_cursor(SEAL, PLACE, "acc_1", FILTER)
    with pytest.raises(BadFilter, match=r"^cursor: "):
        decode_cursor(SEAL, token, "acc_1", other)


def test_another_account_is_refused() -> None:
    token = encode_cursor(SEAL, PLACE, "acc_1", FILTER)
    with pytest.raises(BadFilter, match=r"^cursor: "):
        decode_cursor(SEAL, token, "acc_2", FILTER)


def test_another_installations_is_refused() -> None:
    token = encode_cursor(Seal(lambda: bytes(32)), PLACE, "acc_1", FILTER)
    with pytest.raises(BadFilter, match=r"^cursor: "):
        decode_cursor(SEAL, token, "acc_1", FILTER)


@given(st.text(max_size=60) | st.text("abcABC09-_=", min_size=44, max_size=200))
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(BadFilter, match=r"^cursor: "):
        decode_cursor(SEAL, token, "acc_1", FILTER)


def test_the_same_time_in_another_zone_is_the_same_question() -> None:
    moved = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    token = encode_cursor(SEAL, PLACE, "acc_1", FILTER)
    assert decode_cursor(SEAL, token, "acc_1", replace(FILTER, since=moved)) == PLACE
