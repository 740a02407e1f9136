"""The search language: one text says which events, on the page, in the API and on the command line alike.

    action:license.* actor:usr_7 entity:license/lic_42 created:>=2026-11-01 -action:*_updated "free text"

docs/searching.md describes it.
"""

from __future__ import annotations

from auditlog_storage.search.edit import has_term, with_term, without_field, without_term
from auditlog_storage.search.mistake import BadSearch
from auditlog_storage.search.parse import parse_search
from auditlog_storage.search.search import NOTHING_ASKED, Search

__all__ = [
    "NOTHING_ASKED",
    "BadSearch",
    "Search",
    "has_term",
    "parse_search",
    "with_term",
    "without_field",
    "without_term",
]
