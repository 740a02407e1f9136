"""Changing a search by one value, as the facets and quick ranges of a page do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from auditlog_schemas.errors import BadFilter
from auditlog_storage.search.fields import FIELDS, Field
from auditlog_storage.search.globs import Glob
from auditlog_storage.search.search import Search, Term, searching
from auditlog_storage.search.values import BadValue, Value


def with_term(search: Search, name: str, text: str, now: datetime, *, negated: bool = False) -> Search:
    """Return the search with one more value of a field asked for, or excluded.

    A value of a field of which an event has only one (an action, an actor) becomes an alternative of the
    term that is there. The opposite term of the same value goes. A term ``created`` replaces all others.

    Args:
        search: what is asked so far.
        name: of the field, for example ``action`` or ``metadata.source``.
        text: the value itself, without quotes; a star is a star. For ``created``, as it is written.
        now: what relative times count from.
        negated: whether the value is excluded.

    Raises:
        BadFilter: there is no such field, or the field cannot have this value.
    """
    field, key, value = _read(name, text, now)
    rest = without_term(search, name, text, now).terms
    if field.name == "created":
        return searching(
            (*(term for term in rest if term.field != "created"), Term("created", (value,))), now
        )
    if field.is_single:
        for index, term in enumerate(rest):
            if (term.field, term.key, term.negated) == (field.name, key, negated):
                longer = replace(term, values=(*term.values, value))
                return searching((*rest[:index], longer, *rest[index + 1 :]), search.now or now)
    return searching((*rest, Term(field.name, (value,), key, negated)), search.now or now)


def without_term(search: Search, name: str, text: str, now: datetime) -> Search:
    """Return the search without a value of a field, wherever it is asked for or excluded.

    A term that loses its last value goes. Arguments and errors are those of `with_term`.
    """
    field, key, value = _read(name, text, now)
    terms = []
    for term in search.terms:
        if (term.field, term.key) == (field.name, key):
            kept = tuple(each for each in term.values if each.text != value.text)
            if kept:
                terms.append(replace(term, values=kept))
        else:
            terms.append(term)
    return searching(terms, search.now or now)


def without_field(search: Search, name: str) -> Search:
    """Return the search without all terms of a field, for example ``created``.

    Raises:
        BadFilter: there is no such field.
    """
    field, key = _field(name)
    kept = (term for term in search.terms if (term.field, term.key) != (field.name, key))
    return searching(kept, search.now)


def has_term(search: Search, name: str, text: str, now: datetime, *, negated: bool = False) -> bool:
    """Tell whether a value of a field is asked for, or excluded, by one of the terms."""
    field, key, value = _read(name, text, now)
    return any(
        (term.field, term.key, term.negated) == (field.name, key, negated)
        and value.text in [each.text for each in term.values]
        for term in search.terms
    )


def _read(name: str, text: str, now: datetime) -> tuple[Field, str, Value]:
    field, key = _field(name)
    try:
        return field, key, field.read(Glob.exactly(text), now)
    except BadValue as error:
        raise BadFilter(f"{name}: {text!r:.80} is {error}; write {' or '.join(error.expected)}") from None


def _field(name: str) -> tuple[Field, str]:
    head, _, key = name.partition(".")
    field = FIELDS.get(head)
    if field is None or field.has_key != bool(key):
        raise BadFilter(f"{name!r:.80} is no field of a search; fields are {', '.join(FIELDS)}")
    return field, key
