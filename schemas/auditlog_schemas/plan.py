"""The plan: what a decoder must do to read a writer's bytes as the reader's type.

`auditlog_schemas.resolution` turns a pair of Avro schemas into a plan once; both decoders, the one-by-one
one (`strict`) and the columnar one, only walk it. Plans are finite trees: recursive schemas are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Scalar:
    """A primitive. `wire` is the writer's type, `type` the reader's after promotion.

    `logical` is the reader's logical type if it is one we check or map: uuid, timestamp-millis,
    timestamp-micros.
    """

    wire: str
    type: str
    logical: str | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """`size` bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Enum:
    """`symbols` are the reader's; `mapping[i]` is the reader's index of the writer's symbol i, or -1."""

    symbols: tuple[str, ...]
    mapping: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """Blocks of items."""

    items: Node


@dataclass(frozen=True, slots=True)
class Map:
    """Blocks of string keys and values."""

    values: Node


@dataclass(frozen=True, slots=True)
class Step:
    """One field of the writer's record, in wire order; `name` is the reader's, None when it is skipped."""

    name: str | None
    node: Node


@dataclass(frozen=True, slots=True)
class Default:
    """A field only the reader has: its default value as the bytes a writer would have sent."""

    name: str
    wire: bytes
    node: Node


@dataclass(frozen=True, slots=True)
class Record:
    """`steps` in wire order, then `defaults`; `fields` names the result's fields in the reader's order."""

    fields: tuple[str, ...]
    steps: tuple[Step, ...]
    defaults: tuple[Default, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """`branches[i]` reads the writer's branch i, None when the reader has no type for it.

    `tagged` is False when only the reader has a union: no index stands in the bytes and the one branch is
    always taken. `targets[i]` is the branch of the reader's union that branch i becomes; `reader` holds
    those branches' own plans. Both are empty when the reader has no union: every branch then gives its type.
    """

    branches: tuple[Node | None, ...]
    targets: tuple[int, ...] = ()
    reader: tuple[Node, ...] = ()
    tagged: bool = True


Node: TypeAlias = Scalar | Fixed | Enum | Array | Map | Record | Union

_SCALAR_BYTES_MIN = {"null": 0, "float": 4, "double": 8}


def wire_bytes_min(node: Node) -> int:
    """Return the fewest bytes any value of this node takes on the wire."""
    match node:
        case Scalar(wire=wire):
            return _SCALAR_BYTES_MIN.get(wire, 1)
        case Fixed(size=size):
            return size
        case Record(steps=steps):
            return sum(wire_bytes_min(step.node) for step in steps)
        case Union(branches=branches, tagged=tagged):
            sizes = [wire_bytes_min(branch) for branch in branches if branch is not None]
            # A branch that cannot be read is an error whatever it holds, so it sets no lower bound.
            rest = min(sizes) if sizes and len(sizes) == len(branches) else 0
            return rest + (1 if tagged else 0)
        case _:
            return 1
