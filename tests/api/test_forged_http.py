"""Cursors and positions that nobody was given: refused at once, at no cost, and while others are answered."""

from __future__ import annotations

import json
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from auditlog_api.health import KEPT_SECONDS
from auditlog_schemas.catalog import Catalog
from auditlog_storage.connection import Connection
from auditlog_storage.cursor import Cursor, Position, encode_cursor
from auditlog_storage.filters import EventFilter, Item
from auditlog_storage.migrations import migrate
from auditlog_storage.sealed import TEXT_CHARACTERS_MAX, Seal
from auditlog_storage.settings import StorageSettings
from auditlog_storage.snapshot import Snapshot
from kit.api_process import ApiProcess, api_process
from kit.served_api import ServedApi, serving
from storage.event_log import Log

pytestmark = pytest.mark.integration

ACCOUNT = "acc_forged"
EVENTS = f"/v1/accounts/{ACCOUNT}/events"
ITEM = Item("license", "lic_1")
ASKED = EventFilter(item=ITEM)
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def logged(log: Log) -> Log:
    log.store(*(log.event(account_id=account) for account in (ACCOUNT, "acc_other") for _ in range(5)))
    return log


@pytest.fixture(scope="module")
def process(database_url: str, logged: Log, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with api_process(database_url, tmp_path_factory.mktemp("api") / "log") as served:
        yield served


def _text(packed: bytes) -> str:
    return urlsafe_b64encode(packed).decode().rstrip("=")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _old_snapshot(ends: dict[int, int]) -> bytes:
    """As cursors had it before they were sealed: the partitions of one topic."""
    out = bytearray(_varint(1) + uuid4().bytes + _varint(len(ends)))
    last = -1
    for partition, end in ends.items():
        out += _varint(partition - last - 1) + _varint(end)
        last = partition
    return bytes(out)


def _old_cursor(ends: dict[int, int]) -> str:
    """As anybody could make one: its digest had no key."""
    body = struct.pack(">BBqq16s", 2, 0, 2**62, -1, uuid4().bytes) + _old_snapshot(ends)
    question = json.dumps([ACCOUNT, ASKED.question()]).encode()
    return _text(body + sha256(question + b"\0" + body).digest()[:15])


def _own_key(ends: dict[int, int]) -> str:
    """As this software would make one, under a key of the attacker's."""
    topic = uuid4()
    snapshot = Snapshot({(topic, partition): end for partition, end in ends.items()})
    place = Cursor(Position(2**62, uuid4()), False, None, snapshot)
    return encode_cursor(Seal(lambda: b"k" * 32), place, ACCOUNT, ASKED)


FORGED = {
    "partition 2^40": _old_cursor({2**40: 7}),
    "partition 20 million": _old_cursor({20_000_000: 7}),
    "partition 199,999": _old_cursor({199_999: 7}),
    "a thousand invented partitions": _old_cursor(dict.fromkeys(range(0, 100_000, 100), 7)),
    "a position of 2,900 partitions": _text(_old_snapshot(dict.fromkeys(range(2_900), 1))),
    "a position in partition 2^60": _text(_old_snapshot({2**60: 2**62})),
    "a key of one's own": _own_key(dict.fromkeys(range(500), 7)),
    "nothing but the longest text": "A" * TEXT_CHARACTERS_MAX,
    "a longer one": "A" * (TEXT_CHARACTERS_MAX + 1),
    "a short one": "AA",
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
def test_forged_texts_are_refused(process: ApiProcess, api: ServedApi, text: str) -> None:
    viewer = api.viewer(ACCOUNT, ITEM)
    for path in (f"{EVENTS}?item=license/lic_1", f"/v1/accounts/{ACCOUNT}/items/license/lic_1/events?"):
        answer = process.get(f"{path}&cursor={text}", viewer)
        # Too long for a URL is refused as that.
        assert answer.status_code in (400, 404, 414), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    tail = f"{EVENTS}/tail?item=license/lic_1"
    by_query = process.get(f"{tail}&last_event_id={text}", viewer)
    by_header = process.get(tail, viewer, **{"Last-Event-ID": text})
    assert by_query.status_code in (400, 414), by_query.text
    assert by_header.status_code == 400, by_header.text
    assert by_header.json()["errors"][0]["name"] in ("last_event_id", "last-event-id")


def test_a_flood_of_forged_texts_takes_no_memory_and_nobody_elses_answers(
    process: ApiProcess, api: ServedApi
) -> None:
    viewer, other = api.viewer(ACCOUNT, ITEM), api.token("acc_other")
    tail, events = f"{EVENTS}/tail?item=license/lic_1", f"{EVENTS}?item=license/lic_1&cursor="

    def attack(number: int) -> set[int]:
        text = list(FORGED.values())[number % len(FORGED)]
        first = process.get(tail, viewer, **{"Last-Event-ID": text})
        second = process.get(events + text, viewer)
        return {first.status_code, second.status_code}

    def ask() -> float:
        began = time.monotonic()
        answer = process.get("/v1/accounts/acc_other/events", other)
        assert answer.status_code == 200
        assert len(answer.json()["events"]) == 5
        return time.monotonic() - began

    alone = sorted(ask() for _ in range(20))[10]
    with ThreadPoolExecutor(6) as threads:
        # What the process takes for any load at all is not what is measured.
        list(threads.map(attack, range(60)))
        before = process.peak_bytes()
        attacks = [threads.submit(attack, number) for number in range(600)]
        beside = []
        while not all(each.done() for each in attacks):
            beside.append(ask())
    statuses = set().union(*(each.result() for each in attacks))
    assert statuses <= {400, 404, 414, 429}
    # Of the attack that this is about, one request took 180 MB.
    assert process.peak_bytes() - before < 40 * MEBIBYTE
    beside.sort()
    assert len(beside) >= 10
    assert beside[len(beside) // 2] < 50 * alone + 2.0


def _changed(text: str) -> Iterator[str]:
    packed = bytearray(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    for place in range(0, len(packed), 5):
        flipped = bytearray(packed)
        flipped[place] ^= 1 << place % 8
        yield _text(bytes(flipped))
    for size in (1, 16, 32, 33, len(packed) - 1):
        yield _text(bytes(packed[:size]))
    yield _text(bytes(packed) + b"\0")
    yield from (text + "=", text + "!", " " + text, text + text, text[1:], text.swapcase())


def test_a_changed_or_cut_text_is_refused(process: ApiProcess, api: ServedApi) -> None:
    token = api.token(ACCOUNT)
    cursor = process.get(f"{EVENTS}?limit=2", token).json()["next_cursor"]
    for changed in _changed(cursor):
        answer = process.get(f"{EVENTS}?limit=2&cursor={quote(changed)}", token)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:auditlog:problem:no-such-page")
    status, position = process.first_line_of_tail(ACCOUNT, token)
    assert status == 200
    for changed in _changed(position):
        answer = process.get(f"{EVENTS}/tail?last_event_id={quote(changed)}", token)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:auditlog:problem:bad-request")
    assert process.get(f"{EVENTS}?limit=2&cursor={cursor}", token).status_code == 200
    assert process.first_line_of_tail(ACCOUNT, token, **{"Last-Event-ID": position})[0] == 200


def test_a_text_of_another_account_filter_or_kind_is_refused(process: ApiProcess, api: ServedApi) -> None:
    token, other = api.token(ACCOUNT), api.token("acc_other")
    cursor = process.get(f"{EVENTS}?limit=2", token).json()["next_cursor"]
    _, position = process.first_line_of_tail(ACCOUNT, token)
    tail = f"{EVENTS}/tail"
    refused: list[Callable[[], Any]] = [
        lambda: process.get(f"/v1/accounts/acc_other/events?limit=2&cursor={cursor}", other),
        lambda: process.get(f"{EVENTS}?limit=2&q=actor:usr_1&cursor={cursor}", token),
        lambda: process.get(f"{EVENTS}?limit=2&cursor={position}", token),
        lambda: process.get(f"/v1/accounts/acc_other/events/tail?last_event_id={position}", other),
        lambda: process.get(f"{tail}?last_event_id={cursor}", token),
    ]
    statuses = [ask().status_code for ask in refused]
    assert statuses == [404, 404, 404, 400, 400]


def test_texts_show_nothing_and_two_of_one_place_have_nothing_in_common(
    process: ApiProcess, api: ServedApi, logged: Log
) -> None:
    token = api.token(ACCOUNT)
    texts = [process.get(f"{EVENTS}?limit=2", token).json()["next_cursor"] for _ in range(2)]
    texts += [process.first_line_of_tail(ACCOUNT, token)[1] for _ in range(2)]
    packed = [urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in texts]
    for one, same in (packed[:2], packed[2:]):
        assert len(one) == len(same)
        assert sum(a == b for a, b in zip(one, same, strict=True)) < len(one) / 4
    assert not any(logged.topic_id.bytes in each for each in packed)


def test_processes_understand_each_others_texts_and_a_restart_keeps_them(
    process: ApiProcess, api: ServedApi, database_url: str, tmp_path: Path
) -> None:
    token = api.token(ACCOUNT)
    page = process.get(f"{EVENTS}?limit=2", token).json()
    _, position = process.first_line_of_tail(ACCOUNT, token)
    rest = process.get(f"{EVENTS}?cursor={page['next_cursor']}", token).json()["events"]
    assert len(rest) == 3
    for _ in range(2):
        with api_process(database_url, tmp_path / "log") as another:
            answer = another.get(f"{EVENTS}?cursor={page['next_cursor']}", token)
            assert answer.json()["events"] == rest
            # Its own positions go back to the first one.
            status, position = another.first_line_of_tail(ACCOUNT, token, **{"Last-Event-ID": position})
            assert status == 200
    assert process.first_line_of_tail(ACCOUNT, token, **{"Last-Event-ID": position})[0] == 200


def test_without_a_key_the_log_says_what_to_do_and_migrating_is_enough(
    fresh_database: str, catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    with Connection(StorageSettings.load(url=fresh_database)) as connection:
        migrate(connection, catalog)
        connection.command("TRUNCATE TABLE audit_keys")
        log = Log(connection, catalog)
        log.store(*(log.event(account_id=ACCOUNT) for _ in range(3)))
        with serving(fresh_database, catalog) as served:
            token = served.token(ACCOUNT)
            assert served.get(EVENTS, token).status_code == 200
            answer = served.get(f"{EVENTS}?limit=2", token)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:auditlog:problem:unavailable")
            assert served.get("/readyz").status_code == 503
            assert "has no key 'cursor' in audit_keys: run `auditlog migrate`" in capsys.readouterr().out
            migrate(connection, catalog)
            # What it found is kept for a moment.
            time.sleep(KEPT_SECONDS)
            assert served.get("/readyz").status_code == 200
            cursor = served.get(f"{EVENTS}?limit=2", token).json()["next_cursor"]
            assert len(served.get(f"{EVENTS}?cursor={cursor}", token).json()["events"]) == 1


TEXTS = st.text(max_size=300) | st.binary(max_size=300).map(_text) | st.text("aA0-_=", max_size=200)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(TEXTS)
@example("\0")
@example("=" * 60)
@example("A" * 44)
@example("\ud7ff\ufffe" * 20)
def test_any_text_at_all_gives_the_documented_answer(api: ServedApi, text: str) -> None:
    viewer = api.viewer(ACCOUNT)
    page = api.get(EVENTS, viewer, params={"cursor": text})
    assert (page.status_code, page.json()["type"]) == (404, "urn:auditlog:problem:no-such-page")
    shown = api.get(f"/accounts/{ACCOUNT}/audit-logs", viewer, params={"cursor": text})
    assert shown.status_code == (404 if text else 200)
    if text:
        tail = api.get(f"{EVENTS}/tail", viewer, params={"last_event_id": text})
        assert (tail.status_code, tail.json()["type"]) == (400, "urn:auditlog:problem:bad-request")
    header = "".join(c for c in text if 33 <= ord(c) <= 126 or 161 <= ord(c) <= 255)
    if header:
        tail = api.get(f"{EVENTS}/tail", viewer, headers={"Last-Event-ID": header.encode("latin-1")})
        assert (tail.status_code, tail.json()["type"]) == (400, "urn:auditlog:problem:bad-request")
