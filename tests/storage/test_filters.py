from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_schemas.errors import BadFilter
from auditlog_storage.filters import VALUES_MAX, EventFilter, Item

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_nothing_asked_restricts_nothing() -> None:
    assert EventFilter().conditions() == ([], {})


def test_every_condition_has_its_parameter() -> None:
    conditions, values = EventFilter(
        actions=("a", "b"),
        groups=("Licenses",),
        actor_id="usr_1",
        entity_type="license",
        entity_id="lic_1",
        item=Item("order", "ord_1"),
        since=NOON,
        until=NOON + timedelta(hours=1),
    ).conditions()
    assert len(conditions) == len(values) == 8
    for condition, name in zip(conditions, values, strict=True):
        assert f"{{{name}:" in condition
    assert values["item"] == "order/ord_1"
    assert values["since"] == 1_772_366_400_000_000


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_values_never_reach_the_text(actor_id: str, action: str) -> None:
    asked = EventFilter(actor_id=actor_id, actions=(action,))
    conditions, values = asked.conditions()
    assert conditions == EventFilter(actor_id="x", actions=("y",)).conditions()[0]
    assert values == {"actor_id": actor_id, "actions": [action]}


def test_a_time_is_exact_in_any_zone() -> None:
    moment = datetime(2026, 3, 1, 21, 0, 0, 1, tzinfo=timezone(timedelta(hours=9)))
    assert EventFilter(since=moment).conditions()[1] == {"since": 1_772_366_400_000_001}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"actor_id": ""}, "actor_id: must not be empty"),
        ({"entity_type": ""}, "entity_type: must not be empty"),
        ({"entity_id": "é" * 129}, "entity_id: at most 256 bytes are allowed, this has 258"),
        ({"actions": ("ok", "")}, "actions: must not be empty"),
        ({"actions": ("x",) * (VALUES_MAX + 1)}, "actions: at most 100 are allowed, these are 101"),
        ({"groups": ("\ud800",)}, "groups: .* is not valid Unicode"),
        ({"since": datetime(2026, 1, 1)}, "since: needs a time zone"),
        ({"since": NOON, "until": NOON}, "until: .* is not after since"),
    ],
)
def test_a_wrong_value_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadFilter, match=f"^{message}"):
        EventFilter(**fields)


@pytest.mark.parametrize(
    ("type", "id"), [("", "x"), ("license", ""), ("license/x", "y"), ("license", "x" * 257)]
)
def test_an_item_needs_a_type_and_an_id(type: str, id: str) -> None:
    with pytest.raises(BadFilter, match=r"^item: "):
        Item(type, id)
