"""What a replay advises about letters that are rejected again."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from auditlog_cli.replay_advice import ADVICE, NotingJudge, advice
from auditlog_consumer.judge import Judge
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import WriterSchemas, encode
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.verdicts import CATALOG_RULES, VERDICTS
from kit.events import make_record

WIRE_FORMAT = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text("utf-8")


def line_of(rule: str) -> str:
    [line] = advice(Counter({rule: 3}), 0)
    assert line.startswith(f"{rule} 3: ")
    return line


@pytest.mark.parametrize("rule", sorted({verdict.rule for verdict in VERDICTS} - {""}))
def test_every_rule_has_advice_that_fits(rule: str) -> None:
    line = line_of(rule)
    of_catalog = rule in dict(CATALOG_RULES)
    assert ("AUDITLOG_CATALOG" in line) == of_catalog
    assert ("AUDITLOG_SCHEMAS" in line) == (rule == "unknown_fingerprint")
    assert ("AUDITLOG_SCHEMA_REGISTRY_URL" in line) == (rule == "unknown_schema_id")
    assert ("mend the service" in line) == (
        rule not in ADVICE
        or rule in {"wrong_entity_type", "changes_missing", "metadata_missing", "related_missing"}
    )


def test_advice_is_for_rules_that_exist_and_names_sections_that_exist() -> None:
    assert set(ADVICE) <= {verdict.rule for verdict in VERDICTS}
    assert "\n## A schema of your own\n" in WIRE_FORMAT
    assert sum("'A schema of your own'" in text for text in ADVICE.values()) == 2


def test_rules_with_one_advice_share_a_line_and_the_most_frequent_comes_first() -> None:
    rejected = Counter({"unknown_action": 2, "bad_utf8": 1, "truncated": 4, "unknown_action_version": 1})
    first, second, third = advice(rejected, 7)
    assert first.startswith("truncated 4, bad_utf8 1: no setting helps")
    assert second.startswith("unknown_action 2, unknown_action_version 1: extend the catalog")
    assert third.startswith("record batches 7: ")
    assert list(advice(Counter(), 0)) == []


def test_what_is_rejected_is_counted_by_the_rule_of_today() -> None:
    judge = NotingJudge(Judge(WriterSchemas(), load_catalog()))
    now = int(time.time() * 1000)
    assert judge.read(encode(make_record()), now)["action"] == "license_updated"
    bad = [
        None,
        b"\xc3\x01" + bytes(8),
        b"\0\0\0\0\7",
        encode(make_record(action="license_eaten")),
        b"\xc3\x01" + bytes(9),
    ]
    for value in bad:
        with pytest.raises(InvalidEvent):
            judge.read(value, now)
    assert judge.rejected == {
        "tombstone": 1,
        "unknown_fingerprint": 2,
        "unknown_schema_id": 1,
        "unknown_action": 1,
    }
