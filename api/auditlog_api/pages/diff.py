"""The changes of an event, field by field: before and after as lines, with the lines that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal

from auditlog_api.pages.shown_text import indented
from auditlog_schemas.event import Change
from auditlog_schemas.inert import shortened

LINES_SHOWN_MAX: Final = 12
CHARACTERS_SHOWN_MAX: Final = 480
"""A longer value is folded: it shows this much and opens on demand."""
PREVIEW_CHARACTERS: Final = 160
LINES_COMPARED_MAX: Final = 400
"""Comparing takes time with the square of it; longer values are shown without marks."""
FIELDS_NAMED_MAX: Final = 3

Kind = Literal["set", "changed", "removed", "touched"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a value, and whether the other side has it too."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """A value before or after.

    Attributes:
        lines: the whole value.
        preview: its beginning, when it is so long that it is folded; else None.
        size: how long it is, in words.
    """

    lines: tuple[Line, ...]
    preview: str | None
    size: str


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One changed field; a side is None when the field was absent then."""

    field: str
    kind: Kind
    before: Side | None
    after: Side | None


@dataclass(frozen=True, slots=True)
class ChangesInShort:
    """What the table says of an event's changes.

    Attributes:
        kinds: for example ``2 changed, 1 set``; empty when there are no changes.
        fields: the names of the first fields, for example ``seats, features, +2 more``.
    """

    kinds: str
    fields: str


def kind_of(change: Change) -> Kind:
    """Return what happened to the field; ``touched`` when the event tells neither value."""
    if change.before is None:
        return "touched" if change.after is None else "set"
    return "removed" if change.after is None else "changed"


def in_short(changes: Iterable[Change]) -> ChangesInShort:
    """Return how many fields changed, how, and which."""
    changes = tuple(changes)
    counts = Counter(kind_of(change) for change in changes)
    named = [shortened(change.field, 40) for change in changes[:FIELDS_NAMED_MAX]]
    if left := len(changes) - len(named):
        named.append(f"+{left} more")
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return ChangesInShort(kinds, ", ".join(named))


def field_diffs(changes: Iterable[Change]) -> list[FieldDiff]:
    """Return the changes as they are shown, in the order of the event."""
    return [_field_diff(change) for change in changes]


def _field_diff(change: Change) -> FieldDiff:
    before = None if change.before is None else indented(change.before)
    after = None if change.after is None else indented(change.after)
    gone, come = _differing(before or [], after or [])
    return FieldDiff(
        change.field,
        kind_of(change),
        None if before is None else _side(before, gone, change.before or ""),
        None if after is None else _side(after, come, change.after or ""),
    )


def _differing(before: list[str], after: list[str]) -> tuple[frozenset[int], frozenset[int]]:
    """Return which lines of each side the other one does not have, when both have several."""
    if min(len(before), len(after)) < 2 or max(len(before), len(after)) > LINES_COMPARED_MAX:
        return frozenset(), frozenset()
    gone: set[int] = set()
    come: set[int] = set()
    # A comma behind a value says only that another one follows.
    bare, other = ([line.rstrip(",") for line in side] for side in (before, after))
    for tag, begin, end, other_begin, other_end in SequenceMatcher(None, bare, other, False).get_opcodes():
        if tag != "equal":
            gone.update(range(begin, end))
            come.update(range(other_begin, other_end))
    return frozenset(gone), frozenset(come)


def _side(lines: list[str], differing: frozenset[int], text: str) -> Side:
    is_long = len(lines) > LINES_SHOWN_MAX or len(text) > CHARACTERS_SHOWN_MAX
    return Side(
        tuple(Line(line, index in differing) for index, line in enumerate(lines)),
        shortened(text, PREVIEW_CHARACTERS) if is_long else None,
        size_in_words(text, len(lines)),
    )


def size_in_words(text: str, lines: int) -> str:
    """Return how long a value is, for example ``32.0 KiB`` or ``40 lines, 1.2 KiB``."""
    size = len(text.encode("utf-8", "surrogatepass"))
    amount = f"{size / 1024:.1f} KiB" if size >= 1024 else f"{size} bytes"
    return f"{lines} lines, {amount}" if lines > 1 else amount
