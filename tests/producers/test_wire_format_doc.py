"""docs/wire-format.md tells the truth: its bytes, numbers and rules are made again and compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from fastavro.schema import to_parsing_canonical_form

from auditlog_consumer.messages import BATCH_RULES
from auditlog_producers import AuditEvent
from auditlog_schemas import limits
from auditlog_schemas.codec import EVENT_FINGERPRINT, EVENT_SCHEMA, encode
from auditlog_schemas.fingerprints import hamba_fingerprint
from auditlog_schemas.own_actions import UNSIGNED
from auditlog_schemas.rules import FIELD_RULES
from auditlog_schemas.strict import CONTENT_RULES, STRUCTURE_RULES

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "wire-format.md").read_text("utf-8")
DUMP_LINE = re.compile(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} )+)", re.M)


def _block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", DOCUMENT, re.S | re.M)
    assert found, kind
    return found[1]


def _event() -> AuditEvent:
    return AuditEvent.parse(json.loads(_block("json event")))


def _dump() -> bytes:
    lines = DUMP_LINE.findall(_block("hex").replace("\n", " \n"))
    message = b""
    for offset, content in lines:
        assert int(offset, 16) == len(message)
        message += bytes.fromhex(content)
    return message


def test_the_dump_is_the_event() -> None:
    message = encode(_event().to_record())
    assert _dump() == message
    assert f"The whole value has {len(message)} bytes" in DOCUMENT


def test_every_text_in_the_dump_stands_in_its_note() -> None:
    for line in _block("hex").splitlines():
        if noted := re.search(r'length (\d+), "(.*)"', line):
            assert int(noted[1]) == len(noted[2].encode())


def test_the_key_is_the_account() -> None:
    assert f"The key is `{_event().account_id.encode().hex(' ')}`" in DOCUMENT


def test_confluent_framing_differs_in_the_header_only() -> None:
    header = bytes.fromhex(_block("hex confluent"))
    assert encode(_event().to_record(), schema_id=7) == header + _dump()[10:]


def test_the_fingerprint_is_crc_64_avro_of_the_canonical_form() -> None:
    assert _crc_64_avro(b'"int"') == 0x7275D51A3F395C8F  # from Avro's own tests
    canonical = to_parsing_canonical_form(EVENT_SCHEMA).encode()
    assert _crc_64_avro(canonical).to_bytes(8, "little") == EVENT_FINGERPRINT
    assert f"**`{EVENT_FINGERPRINT.hex(' ')}`**" in DOCUMENT
    assert f"`{hamba_fingerprint(EVENT_SCHEMA).hex(' ')}`" in _section("Fingerprint")


def _crc_64_avro(data: bytes) -> int:
    """Avro 1.12 specification, "Schema Fingerprints", bit by bit."""
    empty = 0xC15D213AA4D7A795
    crc = empty
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (empty if crc & 1 else 0)
    return crc


def test_the_partitions_are_javas(java_murmur2: Callable[[bytes], int]) -> None:
    rows = re.findall(r"^\| `(.+)` \| (\d+) \| (\d) \|$", DOCUMENT, re.M)
    assert len(rows) == 4
    for key, hashed, partition in rows:
        found = java_murmur2(key.encode())
        assert (found, (found & 0x7FFFFFFF) % 8) == (int(hashed), int(partition))


def test_the_limits_are_the_ones_in_force() -> None:
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", _section("Limits"), re.M))
    expected = {
        "A message's value": limits.MESSAGE_BYTES_MAX,
        "Ids": limits.ID_BYTES_MAX,
        "Other texts": limits.TEXT_BYTES_MAX,
        "Related entities": limits.RELATED_MAX,
        "Changes": limits.CHANGES_MAX,
        "A change's": limits.CHANGE_VALUE_BYTES_MAX,
        "Metadata keys": limits.METADATA_KEYS_MAX,
        "A metadata key": limits.METADATA_KEY_BYTES_MAX,
        "A metadata value": limits.METADATA_VALUE_BYTES_MAX,
        "`occurred_at`": limits.CLOCK_AHEAD_MAX_MICROS // 1_000_000,
    }
    for start, limit in expected.items():
        [text] = [text for what, text in rows.items() if what.startswith(start)]
        assert re.search(rf"(?<![\d,]){limit:,}(?![\d,])", text), (start, limit, text)
    for rule in FIELD_RULES:
        path = rule.path.replace("related[]", "entity")
        if "{" not in path:
            assert path.removeprefix("changes[].") in _section("Limits").lower(), path


def test_every_rule_is_explained_and_no_other() -> None:
    listed = set(re.findall(r"`([a-z_0-9]+)`", "".join(re.findall(r"^\| (`.*?) \|", _bad(), re.M))))
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "schemas").rglob("*.py"))
    raised = set(
        re.findall(
            r'(?:InvalidEvent|DecodeError|UnknownSchema|UnknownAction|FieldLimitExceeded|Unusable)\(\s*"(\w+)"',
            sources,
        )
    )
    only_before_sending = {"wrong_type"}
    known = {rule.name for rule in FIELD_RULES} | set(STRUCTURE_RULES) | set(CONTENT_RULES)
    known |= raised | BATCH_RULES | {UNSIGNED}
    assert listed == known - only_before_sending


def _bad() -> str:
    return _section("What becomes of a bad message")


def _section(title: str) -> str:
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]
