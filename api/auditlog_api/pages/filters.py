"""What a page offers to filter by: quick ranges, the terms of the search, and facets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from auditlog_api.pages.view import View
from auditlog_schemas.inert import shortened
from auditlog_storage.facets import Facet
from auditlog_storage.filters import EventFilter
from auditlog_storage.search import without_field
from auditlog_storage.search.globs import Glob
from auditlog_storage.search.search import searching

FACET_VALUES: Final = 8
LABEL_CHARACTERS_MAX: Final = 60

QUICK_RANGES: Final = (
    ("1h", "1 hour", "The last hour"),
    ("24h", "24 hours", "The last 24 hours"),
    ("7d", "7 days", "The last 7 days"),
    ("30d", "30 days", "The last 30 days"),
    ("90d", "90 days", "The last 90 days"),
    ("365d", "1 year", "The last 365 days"),
    ("", "All", "All time"),
)
"""Each as the language writes it, in short and in words."""

EXAMPLES: Final = (
    ("action:license_reset", "one action"),
    ("action:license.*", "all actions whose names begin with license_"),
    ("-action:*_updated", "a minus excludes"),
    ("actor:usr_7,usr_8", "a comma means or"),
    ("entity:license/lic_42", "what was acted on"),
    ("item:order/ord_7", "acted on or related"),
    ("ip:10.0.0.0/8", "an address or a network"),
    ("request:4f2a…", "a request's id"),
    ("created:2026-11-01..2026-11-08", "days, or times in UTC"),
    ("created:3d", "since three days ago"),
    ("change:seats", "a field that changed"),
    ('"pro seat"', "text in names, ids, changes or metadata"),
)
"""Searches to learn from, each with what it means."""

FACETS: Final = (("group", "Group"), ("action", "Action"), ("actor", "Actor"), ("ip", "IP address"))
"""Fields of the search language with their titles. The log's facets are called the same."""


@dataclass(frozen=True, slots=True)
class QuickRange:
    """A link to the last hours or days."""

    short: str
    words: str
    href: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class TermLink:
    """A term of the search, and the link to the search without it."""

    text: str
    without_href: str


@dataclass(frozen=True, slots=True)
class FacetLink:
    """A value that can be taken into the search or out of it.

    Attributes:
        events: how many have it; None for a chosen value that is not among the most frequent ones.
        href: None where the search language has no such value.
    """

    value: str
    label: str
    events: int | None
    href: str | None
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class FacetLinks:
    """One facet; `trouble` says why it is missing, `more` how many values are not shown."""

    field: str
    title: str
    values: list[FacetLink]
    more: int
    trouble: str


def quick_ranges(view: View) -> list[QuickRange]:
    """Return the quick ranges, the present one marked."""
    has_times = any(term.field == "created" for term in view.search.terms)
    return [
        QuickRange(
            short,
            words,
            view.href_within(times),
            view.is_asked("created", times) if times else not has_times,
        )
        for times, short, words in QUICK_RANGES
    ]


def term_links(view: View) -> list[TermLink]:
    """Return the terms of the search."""
    terms = view.search.terms
    return [
        TermLink(term.text, view.href(searching((each for each in terms if each is not term), view.now)))
        for term in terms
    ]


def facet_filter(filter: EventFilter, field: str) -> EventFilter:
    """Return the filter for a facet: without what the search says of its own field.

    So the values that could be taken in as well stay in sight.
    """
    search = filter.search and without_field(filter.search, field)
    return replace(filter, search=search)


def facet_links(
    view: View, field: str, title: str, found: Facet | str, names: Mapping[str, str]
) -> FacetLinks:
    """Return a facet as links.

    Args:
        view: of the page.
        field: of the search language.
        title: of the facet.
        found: its values, or why there are none.
        names: what ids stand for, as far as that is known.
    """
    if isinstance(found, str):
        return FacetLinks(field, title, [], 0, found)
    links = [
        FacetLink(
            each.value,
            shortened(names.get(each.value, each.value), LABEL_CHARACTERS_MAX),
            each.events,
            view.href_with(field, each.value),
            view.is_asked(field, each.value),
        )
        for each in found.values
        if each.value
    ]
    shown = {each.value for each in found.values}
    links += [
        FacetLink(value, shortened(value, LABEL_CHARACTERS_MAX), None, view.href_with(field, value), True)
        for value in _chosen(view, field)
        if value not in shown
    ]
    return FacetLinks(field, title, links, found.distinct - len(found.values), "")


def _chosen(view: View, field: str) -> list[str]:
    """Return the values of a field that the search asks for, those with stars left out."""
    terms = [term for term in view.search.terms if term.field == field and not term.negated]
    values = [value for term in terms for value in term.values]
    return [value.exact for value in values if isinstance(value, Glob) and value.exact is not None]
