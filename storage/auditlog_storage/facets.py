"""The most frequent values of a field among an account's events, with how many events have each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from auditlog_schemas.errors import BadFilter
from auditlog_storage.account_query import AccountQuery
from auditlog_storage.filters import EventFilter

FACET_VALUES_MAX: Final = 100

_EXPRESSIONS: Final = {
    "action": "action",
    "entity_type": "entity_type",
    "entity": "concat(entity_type, '/', entity_id)",
    "actor": "actor_id",
    "actor_type": "actor_type",
    "ip": "ifNull(ip, '')",
    "source": "source_service",
}
_OF_ACTION: Final = {"group": "action_group", "kind": "kind"}
FACET_FIELDS: Final = tuple(sorted([*_EXPRESSIONS, *_OF_ACTION]))
"""Fields that have facets."""


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value, and how many events have it; the empty value stands for events that have none."""

    value: str
    events: int


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values of a field.

    Attributes:
        field: one of `FACET_FIELDS`.
        values: the most frequent first; among equally frequent ones in the order of their text.
        distinct: how many values there are in all.
        total: how many events there are in all.
    """

    field: str
    values: tuple[FacetValue, ...]
    distinct: int
    total: int


def read_facet(query: AccountQuery, account_id: str, filter: EventFilter, field: str, limit: int) -> Facet:
    """Return a facet of an account's events; see `LogReader.facet`."""
    if field not in FACET_FIELDS:
        raise BadFilter(f"field: must be one of {', '.join(FACET_FIELDS)}, not {field!r:.40}")
    if not 1 <= limit <= FACET_VALUES_MAX:
        raise BadFilter(f"limit: must be 1 to {FACET_VALUES_MAX}, not {limit}")
    if field in _OF_ACTION:
        return _of_actions(query, account_id, filter, field, limit)
    columns = f"{_EXPRESSIONS[field]} AS value, count() AS events, count() OVER (), sum(events) OVER ()"
    order = "GROUP BY value ORDER BY events DESC, value LIMIT {rows:UInt32}"
    rows = query.rows(account_id, filter, columns, order, values={"rows": limit})
    values = tuple(FacetValue(str(value), int(events)) for value, events, _, _ in rows)
    return Facet(field, values, rows[0][2] if rows else 0, rows[0][3] if rows else 0)


def _of_actions(query: AccountQuery, account_id: str, filter: EventFilter, field: str, limit: int) -> Facet:
    """Return a facet by what the catalog says of the actions; one that has left it has the empty value."""
    counts = query.rows(account_id, filter, "action, count()", "GROUP BY action")
    known = dict(query.catalog(_OF_ACTION[field]))
    found: Counter[str] = Counter()
    for action, events in counts:
        found[known.get(action, "")] += events
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0].encode()))
    values = tuple(FacetValue(value, events) for value, events in ordered[:limit])
    return Facet(field, values, len(found), found.total())
