"""What a search means, written the plain way: one event, one term, in Python."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.event import AuditEvent
from auditlog_storage.search import Search
from auditlog_storage.search.globs import Glob
from auditlog_storage.search.search import Term
from auditlog_storage.search.values import ItemGlob, Network, TimeRange, Value


def matches(event: AuditEvent, search: Search, catalog: Catalog) -> bool:
    return all(_term(event, term, catalog) for term in search.terms)


def _term(event: AuditEvent, term: Term, catalog: Catalog) -> bool:
    return any(_value(event, term, value, catalog) for value in term.values) != term.negated


def _value(event: AuditEvent, term: Term, value: Value, catalog: Catalog) -> bool:
    if isinstance(value, TimeRange):
        after = value.since is None or event.occurred_at >= value.since
        return after and (value.until is None or event.occurred_at < value.until)
    if isinstance(value, ItemGlob):
        items = {
            "entity": [event.entity],
            "related": list(event.related),
            "item": [event.entity, *event.related],
        }
        return any(
            _like(item.type, value.type) and (value.id is None or _like(item.id, value.id))
            for item in items[term.field]
        )
    if isinstance(value, Network):
        address = _address(event.context.ip)
        return address is not None and value.first <= address <= value.last
    if term.field == "text":
        return any(_phrase(text, value) for text in _texts(event))
    if term.field in ("group", "kind"):
        action = catalog.actions.get(event.action)
        return action is not None and _like(getattr(action, term.field).lower(), _lower(value))
    return any(_like(text, value) for text in _candidates(event, term))


def _candidates(event: AuditEvent, term: Term) -> list[str]:
    found: dict[str, list[str | None]] = {
        "action": [event.action],
        "actor": [event.actor.id],
        "ip": [event.context.ip],
        "request": [event.context.request_id],
        "source": [event.source.service],
        "change": [change.field for change in event.changes],
        "metadata": [event.metadata.get(term.key)],
    }
    return [text for text in found[term.field] if text is not None]


def _like(text: str, glob: Glob) -> bool:
    return re.fullmatch(".*".join(map(re.escape, glob.pieces)), text, re.S) is not None


def _lower(glob: Glob) -> Glob:
    return Glob(tuple(piece.lower() for piece in glob.pieces))


def _phrase(text: str, glob: Glob) -> bool:
    """Whether a phrase occurs in a text, from the beginning of a word to the end of a word."""
    pattern = ".*".join(re.escape(piece.lower()) for piece in glob.pieces)
    text = text.lower()
    for start in range(len(text) + 1):
        for found in re.finditer(pattern, text[start:]):
            ends = [start + found.start() + length for length in range(len(text) + 1)]
            for end in ends:
                part = text[start + found.start() : end]
                if re.fullmatch(pattern, part) and _is_whole(text, start + found.start(), end, glob):
                    return True
    return False


def _is_whole(text: str, start: int, end: int, glob: Glob) -> bool:
    first, last = glob.pieces[0][:1], glob.pieces[-1][-1:]
    begins = not _is_word(first) or start == 0 or not _is_word(text[start - 1])
    return begins and (not _is_word(last) or end >= len(text) or not _is_word(text[end]))


def _is_word(character: str) -> bool:
    return character != "" and (ord(character) >= 0x80 or character.isalnum())


def _texts(event: AuditEvent) -> list[str]:
    texts = [event.entity.id, event.entity.name, event.actor.id, event.actor.name, event.actor.email]
    texts += [text for item in event.related for text in (item.id, item.name)]
    texts += [text for change in event.changes for text in (change.field, change.before, change.after)]
    return [text for text in [*texts, *event.metadata.values()] if text]


def _address(text: str | None) -> IPv6Address | None:
    if text is None:
        return None
    try:
        return IPv6Address(f"::ffff:{IPv4Address(text)}")
    except AddressValueError:
        pass
    try:
        return IPv6Address(text) if "%" not in text else None
    except AddressValueError:
        return None
