"""Changes in a few words."""

from typing import Any

import pytest

from auditlog_cli.event_input import parse_event
from auditlog_cli.sentences import changes_in_words


def words(*changes: dict[str, Any]) -> str:
    event: dict[str, Any] = {
        "account_id": "acc_1",
        "action": "license_reset",
        "entity": {"type": "license", "id": "lic_1"},
        "actor": {"type": "platform_user", "id": "usr_1"},
        "changes": list(changes),
    }
    return changes_in_words(parse_event(event))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"before": 5, "after": 10}, "seats 5 → 10"),
        ({"after": "gold"}, "seats = gold"),
        ({"before": True}, "seats true removed"),
        ({"before": "", "after": "null"}, 'seats "" → null'),
        ({"before": "[" * 20_000, "after": '{"n": 1}'}, "seats " + "[" * 23 + "… → " + '{"n": 1}'),
        ({"after": "x" * 100}, "seats = " + "x" * 23 + "…"),
        ({}, "seats"),
    ],
)
def test_one_change(change: dict[str, Any], expected: str) -> None:
    assert words({"field": "seats"} | change) == expected


def test_more_changes_are_counted() -> None:
    assert words() == ""
    assert words(*({"field": f"f{n}", "after": n} for n in range(5))) == "f0 = 0, f1 = 1, +3 more"
