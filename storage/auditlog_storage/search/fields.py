"""The fields of the language: what each is called, and how its values are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from auditlog_storage.search.globs import Glob
from auditlog_storage.search.values import BadValue, Value, read_address, read_item, read_times
from auditlog_storage.search.words import has_word

Reading = Callable[[Glob, datetime], Value]


@dataclass(frozen=True, slots=True)
class Field:
    """A field.

    Attributes:
        name: as it is written before the colon.
        example: a value, for messages.
        read: from what is written to a value; raises BadValue.
        has_key: a key stands behind its name, as in ``metadata.KEY``.
        is_single: an event has one value of it at most, so that two values can only be alternatives.
    """

    name: str
    example: str
    read: Reading
    has_key: bool = False
    is_single: bool = True


def _text(glob: Glob, now: datetime) -> Glob:  # noqa: ARG001
    if glob.exact == "":
        raise BadValue("an empty value", "a value", "* for any value")
    return glob


def _action(glob: Glob, now: datetime) -> Glob:
    # Action names are made of letters, digits and underscores: license.* is short for license_*.
    return _text(glob, now).replaced(".", "_")


def _words(glob: Glob, now: datetime) -> Glob:  # noqa: ARG001
    if not any(has_word(piece) for piece in glob.pieces):
        raise BadValue("a text without a letter or digit", "a word to look for")
    return glob


def _times(glob: Glob, now: datetime) -> Value:
    return read_times("*".join(glob.pieces), now)


FIELDS: Final = {
    field.name: field
    for field in (
        Field("action", "license.*", _action),
        Field("group", "Licenses", _text),
        Field("kind", "deleted", _text),
        Field("entity", "license/lic_42", lambda glob, _: read_item(glob)),
        Field("item", "license/lic_42", lambda glob, _: read_item(glob), is_single=False),
        Field("related", "order/ord_7", lambda glob, _: read_item(glob), is_single=False),
        Field("actor", "usr_7", _text),
        Field("ip", "10.0.0.0/8", lambda glob, _: read_address(glob)),
        Field("request", "req_1", _text),
        Field("source", "billing", _text),
        Field("change", "seats", _text, is_single=False),
        Field("metadata", "web", lambda glob, _: glob, has_key=True),
        Field("created", "3d", _times),
        Field("text", "ada", _words, is_single=False),
    )
}
"""Every field by its name. Free text is the field ``text`` without its name."""

TEXT: Final = "text"
