"""Files of further writers' schemas: what is read, and that a bad one is named with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auditlog_schemas.bad_setting import FILE_BYTES_MAX
from auditlog_schemas.codec import EVENT_SCHEMA, MessageDecoder, WriterSchemas, encode
from auditlog_schemas.errors import ConfigError
from auditlog_schemas.fingerprints import schema_fingerprint
from auditlog_schemas.schema_file import read_schema_file
from kit.event_strategies import full_record

NEWER: dict[str, Any] = EVENT_SCHEMA | {"fields": [*EVENT_SCHEMA["fields"], {"name": "x", "type": "string"}]}


def without(name: str) -> Any:
    return EVENT_SCHEMA | {"fields": [field for field in EVENT_SCHEMA["fields"] if field["name"] != name]}


def retyped(name: str, type: Any) -> Any:
    return EVENT_SCHEMA | {
        "fields": [
            field | {"type": type} if field["name"] == name else field for field in EVENT_SCHEMA["fields"]
        ]
    }


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_a_newer_schema_is_read(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "newer.avsc"
    path.write_bytes(mark + json.dumps(NEWER).encode())
    schemas = WriterSchemas([read_schema_file(path)])
    message = b"\xc3\x01" + schema_fingerprint(NEWER) + encode(full_record())[10:] + b"\x02y"
    assert MessageDecoder(schemas).decode(message) == full_record()


def test_the_same_schema_may_be_given_twice(tmp_path: Path) -> None:
    paths = [tmp_path / "a.avsc", tmp_path / "b.avsc"]
    for path in paths:
        path.write_text(json.dumps(EVENT_SCHEMA), "utf-8")
    schemas = WriterSchemas([read_schema_file(path) for path in (*paths, paths[0])])
    assert MessageDecoder(schemas).decode(encode(full_record())) == full_record()


DEEP_JSON = b"[" * 100_000 + b"]" * 100_000
DEEP_TYPE = b'{"type":"array","items":' * 200 + b'"int"' + b"}" * 200
BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is not JSON: Expecting value: line 1 column 1"),
    "text": (b"syntax = proto3;", "is not JSON: Expecting value: line 1 column 1"),
    "cut JSON": (b'{"type": "record",\n"name"', "is not JSON: .*line 2"),
    "no UTF-8": (b'{"type": "caf\xe9"}', "is not UTF-8: invalid continuation byte at byte 13"),
    "UTF-16": ('{"type": "record"}'.encode("utf-16"), "is not UTF-8"),
    "too large": (b" " * (FILE_BYTES_MAX + 1), "has more than 16,777,216 bytes"),
    "deep JSON": (DEEP_JSON, "is not JSON: .*(recursion|[Ss]tack overflow)"),
    "a number of many digits": (b"1" * 10_000, "is not JSON: .*digits"),
    "a JSON number": (b"42", "at the top: 42 is no type: that is a name, a list or an object"),
    "a JSON null": (b"null", "at the top: None is no type"),
    "a JSON text": (b'"event"', "at the top: unknown type 'event'"),
    "a JSON list": (b"[]", "at the top: a union needs branches"),
    "a long list": (b"[" + b'"int",' * 2_000_000 + b'"int"]', "at the top: a union has at most 127 branches"),
    "an object": (b'{"a": 1}', "at the top: 'type' is missing"),
    "deep types": (DEEP_TYPE, "nested deeper than 32 levels"),
    "another type": (b'"string"', "string was written, record auditlog.v1.AuditEvent is wanted"),
    "an enum": (
        b'{"type": "enum", "name": "E", "symbols": ["A"]}',
        "enum E was written, record auditlog.v1.AuditEvent is wanted",
    ),
    "another record": (b'{"type": "record", "name": "Order", "fields": []}', "record Order was written"),
    **{
        kind: (json.dumps(schema).encode(), message)
        for kind, schema, message in (
            ("an unknown type", retyped("action", "Verb"), "at action: unknown type 'Verb'"),
            ("recursion", retyped("related", {"type": "array", "items": "AuditEvent"}), "contains itself"),
            ("a name twice", retyped("action", EVENT_SCHEMA["fields"][5]["type"]), "Entity is defined twice"),
            ("a missing field", without("account_id"), "at account_id: not written, and the reader has no"),
            ("a field of another type", retyped("account_id", "long"), "at account_id: long was written"),
            (
                "a time in another unit",
                retyped("occurred_at", {"type": "long", "logicalType": "timestamp-millis"}),
                "timestamp-millis was written, timestamp-micros is wanted",
            ),
        )
    },
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "ours.avsc"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_schema_file(path)
    assert str(caught.value).startswith(f"schema file {path}: ")
    assert len(str(caught.value)) < 1_000


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^schema file .*absent\.avsc: cannot be read: No such file"):
        read_schema_file(tmp_path / "absent.avsc")


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^schema file {tmp_path}: cannot be read: Is a directory"):
        read_schema_file(tmp_path)


def test_a_path_that_can_be_none_is_named() -> None:
    for path in (Path("a\0b"), Path("x" * 5_000)):
        with pytest.raises(ConfigError, match=r"^schema file (a\0b|x{5000}): cannot be read: "):
            read_schema_file(path)


def test_a_file_that_the_system_does_not_read_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^schema file /proc/self/mem: cannot be read: Input/output error"):
        read_schema_file(Path("/proc/self/mem"))


def test_a_file_without_end_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^schema file /dev/zero: has more than 16,777,216 bytes"):
        read_schema_file(Path("/dev/zero"))
