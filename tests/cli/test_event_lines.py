"""Lines are counted and bounded, and each problem belongs to its line."""

import json
from io import BytesIO

import pytest

from auditlog_cli.event_lines import LINE_BYTES_MAX, read_event_lines

GOOD = json.dumps(
    {
        "account_id": "acc_1",
        "action": "license_reset",
        "entity": {"type": "license", "id": "lic_1"},
        "actor": {"type": "platform_user", "id": "usr_1"},
    }
).encode()


def rules(data: bytes) -> list[tuple[int, str | None]]:
    return [
        (line.number, line.problem.rule if line.problem else None) for line in read_event_lines(BytesIO(data))
    ]


def test_blank_lines_count_and_are_skipped() -> None:
    assert rules(b"\n" + GOOD + b"\r\n  \n" + GOOD) == [(2, None), (4, None)]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"NaN", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "not_an_object"),
        (b"{}", "wrong_type"),
    ],
)
def test_a_bad_line_leaves_its_neighbours_alone(line: bytes, rule: str) -> None:
    assert rules(b"\n".join((GOOD, line, GOOD))) == [(1, None), (2, rule), (3, None)]


@pytest.mark.parametrize("extra", [0, 1, 2, 3, LINE_BYTES_MAX, 3 * LINE_BYTES_MAX + 7])
def test_a_line_that_is_too_long_is_one_line(extra: int) -> None:
    padded = GOOD[:-1] + b" " * (LINE_BYTES_MAX - len(GOOD) + extra) + b"}"
    expected = "line_too_long" if extra else None
    assert rules(b"\n".join((GOOD, padded, GOOD))) == [(1, None), (2, expected), (3, None)]


def test_a_source_of_its_own_is_noticed() -> None:
    source = {"service": "s", "instance_id": "i", "sequence": 3}
    line = json.dumps(json.loads(GOOD) | {"source": source}).encode()
    first, second = read_event_lines(BytesIO(GOOD + b"\n" + line))
    assert (first.has_source, second.has_source) == (False, True)
    assert second.event is not None
    assert second.event.source.sequence == 3
