"""Every rule about bytes, with the exact bytes that break it and the offset that the error names."""

from __future__ import annotations

from typing import Any

import pytest

from auditlog_schemas.errors import DecodeError
from auditlog_schemas.resolution import resolve
from auditlog_schemas.strict import CONTENT_RULES, STRUCTURE_RULES, StrictDecoder
from kit.hostile_bytes import CASES, ENUM, LAST_GOOD, STRINGS, UUID, UUID_BYTES, record


@pytest.mark.parametrize(("rule", "schema", "data", "offset"), CASES)
def test_broken_rule_and_its_offset(rule: str, schema: Any, data: bytes, offset: int) -> None:
    with pytest.raises(DecodeError) as caught:
        StrictDecoder(resolve(schema)).decode(data)
    assert caught.value.rule == rule
    assert caught.value.detail.endswith(f" byte {offset}")


@pytest.mark.parametrize(("rule", "schema", "data", "offset"), CASES)
def test_the_rule_holds_for_a_skipped_field_too(rule: str, schema: Any, data: bytes, offset: int) -> None:
    if rule == "trailing_bytes":
        return
    plan = resolve(record(schema, name="S"), record(name="S"))
    with pytest.raises(DecodeError) as caught:
        StrictDecoder(plan).decode(b"head" + data, 4)
    assert caught.value.rule == rule
    assert caught.value.detail.endswith(f" byte {offset + 4}")


def test_every_rule_has_a_case() -> None:
    unresolvable = "unresolvable_value"  # Needs two schemas: see the tests below.
    assert {case[0] for case in CASES} | {unresolvable} == {*STRUCTURE_RULES, *CONTENT_RULES}


def test_a_union_branch_that_the_reader_lacks() -> None:
    decoder = StrictDecoder(resolve(["null", "long"], "long"))
    assert decoder.decode(b"\x02\x0a") == 5
    with pytest.raises(DecodeError, match=r"branch 0 .* byte 1 \[unresolvable_value\]"):
        decoder.decode(b"\0")


def test_an_enum_symbol_that_the_reader_lacks() -> None:
    decoder = StrictDecoder(resolve(ENUM, ENUM | {"symbols": ["B"]}))
    assert decoder.decode(b"\x02") == "B"
    with pytest.raises(DecodeError, match=r"symbol 0 .* byte 1 \[unresolvable_value\]"):
        decoder.decode(b"\0")


def test_a_flaw_of_structure_wins_over_an_earlier_flaw_of_content() -> None:
    with pytest.raises(DecodeError, match="truncated"):
        StrictDecoder(resolve(record("string", "int"))).decode(b"\x02\xff")


def test_content_flaws_win_in_the_order_of_their_list() -> None:
    plan = resolve(record(STRINGS, UUID, "string"))
    twice = b"\x04\x02a\0\x02a\0\0"
    with pytest.raises(DecodeError, match="bad_utf8"):
        StrictDecoder(plan).decode(twice + b"\0" + b"\x02\xff")
    with pytest.raises(DecodeError, match="bad_uuid"):
        StrictDecoder(plan).decode(twice + b"\0" + b"\0")
    with pytest.raises(DecodeError, match="duplicate_map_key"):
        StrictDecoder(plan).decode(twice + UUID_BYTES + b"\0")


@pytest.mark.parametrize(("schema", "data", "value"), LAST_GOOD)
def test_the_last_value_before_a_rule_is_accepted(schema: Any, data: bytes, value: Any) -> None:
    assert StrictDecoder(resolve(schema)).decode(data) == value
