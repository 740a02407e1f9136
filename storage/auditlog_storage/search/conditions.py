"""From terms to SQL conditions on `audit_events`, whose values are all parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from auditlog_schemas.record import micros_of
from auditlog_storage.search.globs import Glob
from auditlog_storage.search.search import Term
from auditlog_storage.search.values import ItemGlob, Network, TimeRange, Value
from auditlog_storage.search.words import is_one_word, phrase_pattern
from auditlog_storage.tables import EVENT_WORDS


class _Parameters:
    """Gives each value a name, ``q0``, ``q1``, …"""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def add(self, type: str, value: object) -> str:
        """Return the placeholder of a value."""
        name = f"q{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{type}}}"

    def text(self, value: str) -> str:
        return self.add("String", value)

    def texts(self, values: Sequence[str]) -> str:
        return self.add("Array(String)", list(values))


def conditions(terms: Iterable[Term]) -> tuple[list[str], dict[str, object]]:
    """Return one condition or more for each term, to be joined by AND, and the parameters' values."""
    parameters = _Parameters()
    found: list[str] = []
    for term in terms:
        wanted = _COMPILED[term.field](term, parameters)
        if term.negated:
            # A condition on an absent value is NULL, and what is absent is not what was excluded.
            found.append(f"NOT ifNull({_any(wanted)}, 0)")
        elif len(term.values) == 1 and isinstance(term.values[0], TimeRange):
            found += _bounds(term.values[0], parameters)
        else:
            found.append(_any(wanted))
    return found, parameters.values


def _any(wanted: Sequence[str]) -> str:
    return f"({' OR '.join(wanted)})"


def _all(wanted: Sequence[str]) -> str:
    return f"({' AND '.join(wanted)})"


def _matching(expression: str, globs: Sequence[Glob], parameters: _Parameters) -> list[str]:
    """Return conditions for an expression to be like any of the globs."""
    exact = [glob.exact for glob in globs if glob.exact is not None]
    wanted = [f"{expression} IN {parameters.texts(exact)}"] if exact else []
    for glob in globs:
        if glob.exact is None:
            wanted.append(f"{expression} LIKE {parameters.text(glob.like)}")
    return wanted


def _globs(values: Iterable[Value]) -> list[Glob]:
    return [value for value in values if isinstance(value, Glob)]


def _column(expression: str) -> Callable[[Term, _Parameters], list[str]]:
    return lambda term, parameters: _matching(expression, _globs(term.values), parameters)


def _of_catalog(column: str) -> Callable[[Term, _Parameters], list[str]]:
    def wanted(term: Term, parameters: _Parameters) -> list[str]:
        likes = [
            f"lowerUTF8({column}) LIKE lowerUTF8({parameters.text(glob.like)})"
            for glob in _globs(term.values)
        ]
        # Names and placeholders of ours.
        return [f"action IN (SELECT action FROM audit_actions WHERE {_any(likes)})"]  # noqa: S608

    return wanted


def _metadata(term: Term, parameters: _Parameters) -> list[str]:
    key = parameters.text(term.key)
    wanted = _matching(f"metadata[{key}]", _globs(term.values), parameters)
    return [f"(mapContains(metadata, {key}) AND {_any(wanted)})"]


def _change(term: Term, parameters: _Parameters) -> list[str]:
    globs = _globs(term.values)
    exact = [glob.exact for glob in globs if glob.exact is not None]
    wanted = [f"hasAny(changes.field, {parameters.texts(exact)})"] if exact else []
    for glob in globs:
        if glob.exact is None:
            wanted.append(f"arrayExists(name -> name LIKE {parameters.text(glob.like)}, changes.field)")
    return wanted


def _entity(term: Term, parameters: _Parameters) -> list[str]:
    return [_one_item(item, "entity_type", "entity_id", parameters) for item in _items(term)]


def _related(term: Term, parameters: _Parameters) -> list[str]:
    return [
        f"arrayExists((type, id) -> {_one_item(item, 'type', 'id', parameters)}, related.type, related.id)"
        for item in _items(term)
    ]


def _item(term: Term, parameters: _Parameters) -> list[str]:
    wanted = []
    for item in _items(term):
        if (key := _key(item)) is not None:
            wanted.append(f"has(item_keys, {parameters.text(key)})")
        else:
            like = f"{item.type.like}/{item.id.like if item.id else '%'}"
            wanted.append(f"arrayExists(key -> key LIKE {parameters.text(like)}, item_keys)")
    return wanted


def _one_item(item: ItemGlob, type: str, id: str, parameters: _Parameters) -> str:
    both = [*_matching(type, [item.type], parameters)]
    if item.id is not None:
        both += _matching(id, [item.id], parameters)
    return _all(both)


def _items(term: Term) -> list[ItemGlob]:
    return [value for value in term.values if isinstance(value, ItemGlob)]


def _key(item: ItemGlob) -> str | None:
    if item.type.exact is None or item.id is None or item.id.exact is None:
        return None
    return f"{item.type.exact}/{item.id.exact}"


def _ip(term: Term, parameters: _Parameters) -> list[str]:
    wanted = _matching("ip", _globs(term.values), parameters)
    for value in term.values:
        if isinstance(value, Network):
            first, last = (parameters.add("IPv6", str(end)) for end in (value.first, value.last))
            wanted.append(f"toIPv6OrNull(ip) BETWEEN {first} AND {last}")
    return wanted


def _created(term: Term, parameters: _Parameters) -> list[str]:
    ranges = [value for value in term.values if isinstance(value, TimeRange)]
    return [_all(_bounds(value, parameters)) for value in ranges]


def _bounds(value: TimeRange, parameters: _Parameters) -> list[str]:
    return [
        f"occurred_at {sign} fromUnixTimestamp64Micro({parameters.add('Int64', micros_of(moment))}, 'UTC')"
        for sign, moment in ((">=", value.since), ("<", value.until))
        if moment is not None
    ]


def _text(term: Term, parameters: _Parameters) -> list[str]:
    return [_phrase(glob, parameters) for glob in _globs(term.values)]


def _phrase(glob: Glob, parameters: _Parameters) -> str:
    """Return the condition that a phrase occurs in one of the texts, from word to word."""
    wanted = []
    if glob.exact is not None:
        words = f"tokens(lowerUTF8({parameters.text(glob.exact)}), 'splitByNonAlpha')"
        # Answered by the index by_word alone.
        wanted.append(f"hasAllTokens({EVENT_WORDS}, {words})")
    if not (glob.exact and is_one_word(glob.exact)):
        wanted.append(f"match({EVENT_WORDS}, lowerUTF8({parameters.text(phrase_pattern(glob))}))")
    return _all(wanted)


_COMPILED: Final[dict[str, Callable[[Term, _Parameters], list[str]]]] = {
    "action": _column("action"),
    "group": _of_catalog("action_group"),
    "kind": _of_catalog("kind"),
    "entity": _entity,
    "item": _item,
    "related": _related,
    "actor": _column("actor_id"),
    "ip": _ip,
    "request": _column("request_id"),
    "source": _column("source_service"),
    "change": _change,
    "metadata": _metadata,
    "created": _created,
    "text": _text,
}
