"""Decoding one message strictly: every byte is checked, every flaw has its rule.

Source: Apache Avro 1.12 specification, "Binary encoding". This is the reference for the verdicts; the
columnar decoder must give the same ones. When a message has several flaws, a flaw of its structure wins
over a flaw of its content (in the order of `CONTENT_RULES`), because a decoder that walks columns learns of
the content last.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final, TypeAlias
from uuid import UUID

from auditlog_schemas.errors import DecodeError
from auditlog_schemas.plan import Array, Enum, Fixed, Map, Node, Record, Scalar, Union, wire_bytes_min

STRUCTURE_RULES: Final = (
    "truncated",
    "trailing_bytes",
    "varint_too_long",
    "int_out_of_range",
    "negative_length",
    "length_beyond_message",
    "enum_index_out_of_range",
    "union_index_out_of_range",
    "bad_boolean",
    "too_many_items",
    "zero_size_items",
    "block_size_mismatch",
    "unresolvable_value",
)
CONTENT_RULES: Final = ("bad_utf8", "bad_uuid", "duplicate_map_key")


class Cursor:
    """A position in one message. `zero_size_items_left` bounds items that take no bytes at all."""

    __slots__ = ("content_flaws", "data", "end", "pos", "start", "zero_size_items_left")

    def __init__(self, data: bytes, start: int, end: int | None = None) -> None:
        self.data = data
        self.start = self.pos = start
        self.end = len(data) if end is None else end
        self.zero_size_items_left = self.end - start
        self.content_flaws: dict[str, tuple[str, str]] = {}

    def fail(self, rule: str, path: str, detail: str) -> DecodeError:
        """Return the error of a flaw found at this position."""
        return DecodeError(rule, path, f"{detail} at byte {self.pos}")

    def content_flaw(self, rule: str, path: str, detail: str) -> None:
        """Note a flaw of content; it counts when the structure of the whole message is good."""
        self.content_flaws.setdefault(rule, (path, f"{detail} before byte {self.pos}"))

    def take(self, size: int, path: str) -> bytes:
        """Pass `size` bytes and return them."""
        if size > self.end - self.pos:
            raise self.fail("truncated", path, f"needs {size} bytes, {self.end - self.pos} are left")
        self.pos += size
        return self.data[self.pos - size : self.pos]

    def long(self, path: str) -> int:
        """Read a zig-zag number of at most 64 bits."""
        value = shift = 0
        while True:
            if self.pos >= self.end:
                raise self.fail("truncated", path, "the message ends inside a number")
            byte = self.data[self.pos]
            self.pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise self.fail("varint_too_long", path, "a number takes more than 10 bytes")
        if value >= 1 << 64:
            raise self.fail("varint_too_long", path, "a number has more than 64 bits")
        return (value >> 1) ^ -(value & 1)

    def length(self, path: str) -> int:
        """Read the length of something that has to lie in the message."""
        size = self.long(path)
        if size < 0:
            raise self.fail("negative_length", path, f"the length is {size}")
        if size > self.end - self.pos:
            left = self.end - self.pos
            raise self.fail("length_beyond_message", path, f"the length is {size}, {left} bytes are left")
        return size


Reader: TypeAlias = Callable[[Cursor], Any]


class StrictDecoder:
    """Decodes single messages by one plan."""

    def __init__(self, plan: Node) -> None:
        self._read = reader_of(plan, "")

    def decode(self, message: bytes, start: int = 0) -> Any:
        """Return the value encoded in ``message[start:]``, which must be exactly one value.

        Strings are str, bytes and fixed are bytes, enums their symbol, timestamps integers in their unit,
        uuids str, records and maps dict, arrays list, unions the bare value.

        Raises:
            DecodeError: with one of `STRUCTURE_RULES` or `CONTENT_RULES`, the field and the byte offset.
        """
        cursor = Cursor(message, start)
        value = self._read(cursor)
        if cursor.pos != cursor.end:
            raise cursor.fail("trailing_bytes", "", f"{cursor.end - cursor.pos} bytes follow the value")
        for rule in CONTENT_RULES:
            if rule in cursor.content_flaws:
                raise DecodeError(rule, *cursor.content_flaws[rule])
        return value


def reader_of(node: Node, path: str) -> Reader:
    """Return the function that reads one value of `node` at a cursor; `path` is for its errors."""
    match node:
        case Scalar():
            return _scalar(node, path)
        case Fixed(size=size):
            return lambda cursor: cursor.take(size, path)
        case Enum():
            return _enum(node, path)
        case Array(items=items):
            return _array(items, path)
        case Map(values=values):
            return _map(values, path)
        case Union():
            return _union(node, path)
        case Record():
            return _record(node, path)


def _scalar(node: Scalar, path: str) -> Reader:
    readers: dict[str, Reader] = {
        "null": lambda _: None,
        "boolean": lambda cursor: _boolean(cursor, path),
        "int": lambda cursor: _int(cursor, path),
        "long": lambda cursor: cursor.long(path),
        "float": lambda cursor: struct.unpack("<f", cursor.take(4, path))[0],
        "double": lambda cursor: struct.unpack("<d", cursor.take(8, path))[0],
    }
    if node.wire in ("string", "bytes"):
        return _bytes_or_string(node, path)
    read = readers[node.wire]
    if node.wire in ("int", "long") and node.type == "double":
        return lambda cursor: float(read(cursor))
    if node.wire in ("int", "long") and node.type == "float":
        return lambda cursor: struct.unpack("<f", struct.pack("<f", float(read(cursor))))[0]
    return read


def _bytes_or_string(node: Scalar, path: str) -> Reader:
    if node.type == "bytes":
        return lambda cursor: cursor.take(cursor.length(path), path)
    return _uuid(path) if node.logical == "uuid" else lambda cursor: _string(cursor, path)


def _boolean(cursor: Cursor, path: str) -> bool:
    byte = cursor.take(1, path)[0]
    if byte > 1:
        raise cursor.fail("bad_boolean", path, f"{byte} is neither 0 nor 1")
    return byte == 1


def _int(cursor: Cursor, path: str) -> int:
    value = cursor.long(path)
    if not -(1 << 31) <= value < 1 << 31:
        raise cursor.fail("int_out_of_range", path, f"{value} does not fit 32 bits")
    return value


def _string(cursor: Cursor, path: str) -> str:
    data = cursor.take(cursor.length(path), path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        cursor.content_flaw("bad_utf8", path, f"byte {error.start} of the text is not UTF-8")
        return ""


def _uuid(path: str) -> Reader:
    def read(cursor: Cursor) -> str:
        text = _string(cursor, path)
        if not is_uuid(text):
            cursor.content_flaw("bad_uuid", path, f"{text[:40]!r} is not a UUID")
        return text

    return read


def is_uuid(text: str) -> bool:
    """Tell whether `text` is a UUID in RFC 9562's form: 8-4-4-4-12 hexadecimal digits of either case."""
    if len(text) != 36 or not text.isascii():
        return False
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _enum(node: Enum, path: str) -> Reader:
    def read(cursor: Cursor) -> str:
        index = cursor.long(path)
        if not 0 <= index < len(node.mapping):
            known = len(node.mapping)
            raise cursor.fail("enum_index_out_of_range", path, f"index {index}, there are {known} symbols")
        if node.mapping[index] < 0:
            raise cursor.fail("unresolvable_value", path, f"symbol {index} is unknown to the reader")
        return node.symbols[node.mapping[index]]

    return read


def _union(node: Union, path: str) -> Reader:
    branches = [None if branch is None else reader_of(branch, path) for branch in node.branches]
    if not node.tagged:
        assert branches[0] is not None
        return branches[0]

    def read(cursor: Cursor) -> Any:
        index = cursor.long(path)
        if not 0 <= index < len(branches):
            known = len(branches)
            raise cursor.fail("union_index_out_of_range", path, f"index {index}, there are {known} branches")
        branch = branches[index]
        if branch is None:
            raise cursor.fail("unresolvable_value", path, f"branch {index} is unknown to the reader")
        return branch(cursor)

    return read


def _record(node: Record, path: str) -> Reader:
    steps = [(step.name, reader_of(step.node, _below(path, step.name))) for step in node.steps]
    defaults = [(default.name, StrictDecoder(default.node).decode(default.wire)) for default in node.defaults]

    def read(cursor: Cursor) -> dict[str | None, Any]:
        values = {name: reader(cursor) for name, reader in steps}
        for name, value in defaults:
            values[name] = deepcopy(value)
        return {name: values[name] for name in node.fields}

    return read


def _array(items: Node, path: str) -> Reader:
    read_item = reader_of(items, f"{path}[]")
    size_min = wire_bytes_min(items)

    def read(cursor: Cursor) -> list[Any]:
        values: list[Any] = []
        read_blocks(cursor, path, size_min, lambda: values.append(read_item(cursor)))
        return values

    return read


def _map(values: Node, path: str) -> Reader:
    read_value = reader_of(values, f"{path}{{value}}")
    key_path = f"{path}{{key}}"

    def read(cursor: Cursor) -> dict[str, Any]:
        entries: dict[str, Any] = {}

        def read_entry() -> None:
            key = _string(cursor, key_path)
            if key in entries:
                cursor.content_flaw("duplicate_map_key", path, f"the key {key[:40]!r} stands twice")
            entries[key] = read_value(cursor)

        read_blocks(cursor, path, 1 + wire_bytes_min(values), read_entry)
        return entries

    return read


def read_blocks(cursor: Cursor, path: str, size_min: int, read_item: Callable[[], None]) -> None:
    """Read the blocks of an array or map; a negative count is followed by the block's size in bytes."""
    while count := cursor.long(path):
        block_end = None
        if count < 0:
            count = -count
            block_end = cursor.length(path) + cursor.pos
        _require_room(cursor, path, count, size_min)
        read_items(cursor, path, count, block_end, read_item)


def read_items(
    cursor: Cursor, path: str, count: int, block_end: int | None, read_item: Callable[[], None]
) -> None:
    """Read the items of one block; `block_end` is where its size, if it has one, says that it ends."""
    for _ in range(count):
        read_item()
    if block_end is not None and cursor.pos != block_end:
        found = f"the block ends {cursor.pos - block_end:+} bytes from where its size says"
        raise cursor.fail("block_size_mismatch", path, found)


def _require_room(cursor: Cursor, path: str, count: int, size_min: int) -> None:
    """Refuse a count that the rest of the message cannot hold, before any work is done for it."""
    if count * size_min > cursor.end - cursor.pos:
        left = cursor.end - cursor.pos
        raise cursor.fail("too_many_items", path, f"{count} items cannot fit the {left} bytes that are left")
    if size_min == 0:
        cursor.zero_size_items_left -= count
        if cursor.zero_size_items_left < 0:
            size = cursor.end - cursor.start
            raise cursor.fail("zero_size_items", path, f"more empty items than the message's {size} bytes")


def _below(path: str, name: str | None) -> str:
    return f"{path}.{name or '?'}".lstrip(".")
