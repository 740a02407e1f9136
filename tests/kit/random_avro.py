"""Random Avro schemas, random bytes of them, and random later versions of them; all from one seed.

The bytes come from an encoder of their own, so that arrays and maps are also cut into several blocks, with
and without sizes, and every branch of a union is hit: no library writes such bytes.
"""

from __future__ import annotations

import json
import struct
from copy import deepcopy
from random import Random
from typing import Any
from uuid import UUID

PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
LOGICAL = [
    {"type": "string", "logicalType": "uuid"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
]
ALPHABET = [
    "",
    "a",
    "Zoë",
    "日本",
    "🔑",
    "x" * 70,
    "\0",
    " ",
    "\r\n",
    "ÿ",
    "long enough for more than 12 bytes",
]
WIDER = {"int": ["long", "double"], "long": ["double"], "float": ["double"], "string": ["bytes"]}


class RandomSchema:
    """Makes one random schema; named types get numbered names."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._named = 0

    def record(self, depth: int = 3) -> dict[str, Any]:
        """Return a record with up to 6 fields, nested at most `depth` levels."""
        count = self._random.choice([0, 1, 1, 2, 3, 6])
        fields = [{"name": f"f{i}", "type": self.type(depth - 1)} for i in range(count)]
        return {"type": "record", "name": self._name("R"), "fields": fields}

    def type(self, depth: int) -> Any:
        """Return any type."""
        pick = self._random.random()
        if depth <= 0 or pick < 0.45:
            return self._random.choice([*PRIMITIVES, "string", "string", *deepcopy(LOGICAL)])
        if pick < 0.52:
            symbols = [f"S{i}" for i in range(self._random.choice([1, 2, 5, 70]))]
            return {"type": "enum", "name": self._name("E"), "symbols": symbols}
        if pick < 0.58:
            size = self._random.choice([0, 1, 5, 16, 100])
            return {"type": "fixed", "name": self._name("F"), "size": size}
        if pick < 0.72:
            return self.union(depth - 1)
        if pick < 0.82:
            return {"type": "array", "items": self.type(depth - 1)}
        if pick < 0.90:
            return {"type": "map", "values": self.type(depth - 1)}
        return self.record(depth)

    def union(self, depth: int) -> list[Any]:
        """Return a union: mostly null and something, sometimes of up to 4 branches.

        No two branches promote to each other: the Java implementation and fastavro choose differently then.
        """
        count = self._random.choice([1, 2, 2, 2, 3, 4])
        branches: list[Any] = ["null"] if self._random.random() < 0.8 else []
        kinds = {"null"} if branches else {"union"}
        while len(branches) < count:
            branch = self.type(depth)
            kind = family_of(branch)
            if kind != "union" and kind not in kinds:
                kinds.add(kind)
                branches.append(branch)
        self._random.shuffle(branches)
        return branches

    def _name(self, prefix: str) -> str:
        self._named += 1
        return f"{prefix}{self._named}"


FAMILIES = {"int": "number", "long": "number", "float": "number", "double": "number", "bytes": "string"}


def family_of(schema: Any) -> str:
    """Return what makes a branch of a union unlike the others: its name, or what its type promotes to."""
    if isinstance(schema, list):
        return "union"
    kind = schema if isinstance(schema, str) else str(schema.get("name", schema["type"]))
    return FAMILIES.get(kind, kind)


def encode_random(random: Random, schema: Any) -> bytes:
    """Return the bytes of a random value of the schema."""
    if isinstance(schema, list):
        branch = random.randrange(len(schema))
        return varint(branch) + encode_random(random, schema[branch])
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        return b"".join(encode_random(random, field["type"]) for field in schema["fields"])
    if kind == "array":
        return _blocks(random, lambda _: encode_random(random, schema["items"]))
    if kind == "map":
        return _blocks(random, lambda index: _key(random, index) + encode_random(random, schema["values"]))
    if kind == "enum":
        return varint(random.randrange(len(schema["symbols"])))
    if kind == "fixed":
        return random.randbytes(int(schema["size"]))
    return _encode_primitive(random, schema, kind)


def _encode_primitive(random: Random, schema: Any, kind: str) -> bytes:
    match kind:
        case "null":
            return b""
        case "boolean":
            return bytes([random.randrange(2)])
        case "int":
            return varint(_integer(random, 32))
        case "long":
            return varint(_integer(random, 64))
        case "float":
            return struct.pack("<f", random.uniform(-1e9, 1e9))
        case "double":
            return struct.pack("<d", random.uniform(-1e300, 1e300))
        case "bytes":
            return sized(random.randbytes(random.choice([0, 1, 11, 12, 13, 200])))
        case _:
            if isinstance(schema, dict) and schema.get("logicalType") == "uuid":
                text = str(UUID(int=random.getrandbits(128)))
                return sized(random.choice([text, text.upper()]).encode())
            return sized("".join(random.choices(ALPHABET, k=random.choice([0, 1, 1, 3]))).encode())


def varint(value: int) -> bytes:
    """Return a long's zig-zag encoding."""
    left = (value << 1) ^ (value >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def sized(data: bytes) -> bytes:
    """Return bytes behind their length."""
    return varint(len(data)) + data


def _integer(random: Random, bits: int) -> int:
    if random.random() < 0.5:
        return random.randrange(-64, 64)
    return random.getrandbits(random.randrange(1, bits)) * random.choice([1, -1])


def _key(random: Random, index: int) -> bytes:
    return sized(f"{index}{random.choice(ALPHABET)}".encode())


def _blocks(random: Random, item: Any) -> bytes:
    out = b""
    written = 0
    many = random.random() < 0.004
    for _ in range(random.choice([3, 45]) if many else random.choice([0, 1, 1, 1, 2, 3])):
        count = random.choice([1, 60]) if many else random.choice([1, 1, 2, 5])
        data = b"".join(item(written + index) for index in range(count))
        written += count
        out += varint(-count) + varint(len(data)) + data if random.random() < 0.3 else varint(count) + data
    return out + b"\0"


def later_version(random: Random, writer: dict[str, Any]) -> dict[str, Any]:
    """Return a reader's record that resolves with the writer's: the changes that evolution allows."""
    fields = []
    for field in deepcopy(writer["fields"]):
        pick = random.random()
        if pick < 0.15:
            continue
        if pick < 0.3 and isinstance(field["type"], str) and field["type"] in WIDER:
            field["type"] = random.choice(WIDER[field["type"]])
        elif pick < 0.4 and not isinstance(field["type"], list) and field["type"] != "null":
            field["type"] = ["null", field["type"]]
        elif pick < 0.5:
            field["aliases"] = [field["name"]]
            field["name"] += "_renamed"
        elif isinstance(field["type"], dict) and field["type"]["type"] == "record":
            field["type"] = later_version(random, field["type"])
        elif isinstance(field["type"], dict) and field["type"]["type"] == "enum" and pick < 0.8:
            field["type"]["symbols"] = ["NEW", *reversed(field["type"]["symbols"])]
        fields.append(field)
    for type_, default in (("int", 7), ("string", "né"), (["null", "long"], None), (["long", "null"], 5)):
        if random.random() < 0.2:
            fields.append({"name": f"new{len(fields)}", "type": type_, "default": default})
    random.shuffle(fields)
    return {**writer, "fields": fields}


def without_logical(schema: Any) -> Any:
    """Return the schema without logical types, for a reader that would turn them into objects."""
    return json.loads(json.dumps(schema), object_hook=_drop_logical)


def _drop_logical(value: dict[str, Any]) -> dict[str, Any]:
    value.pop("logicalType", None)
    return value


def mutated(random: Random, message: bytes) -> bytes:
    """Return the message with one fault: a bit or byte flipped, a piece cut, inserted or doubled."""
    data = bytearray(message)
    at = random.randrange(len(data) + 1)
    length = random.choice([1, 1, 2, 5, 30])
    match random.randrange(6):
        case 0 if data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        case 1 if data:
            data[at % len(data)] = random.choice([0, 1, 2, 0x7F, 0x80, 0xC2, 0xED, 0xFF])
        case 2:
            del data[at : at + length]
        case 3:
            del data[at:]
        case 4:
            data[at:at] = random.choice([random.randbytes(length), b"\xff" * 10, b"\x80" * 9 + b"\x01"])
        case _:
            data[at:at] = data[at : at + length]
    return bytes(data)
