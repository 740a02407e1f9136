"""What every page has around its content."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from auditlog_api.access import Reader
from auditlog_api.backend import Backend
from auditlog_api.pages.rendering import theme_of
from auditlog_api.pages.view import Place, View, exports_path
from auditlog_storage.filters import Item


def place_of(reader: Reader, item: Item | None) -> Place:
    """Return the page of the reader's log, or of an item in it."""
    return Place(reader.account_id, item.key if item else None)


def around(request: Request, reader: Reader, view: View) -> dict[str, Any]:
    """Return what every template needs around its content."""
    backend: Backend = request.app.state.backend
    home = view.at(place_of(reader, reader.item))
    return {
        "account": reader.account_id,
        "home": home.href(),
        "is_item_reader": reader.item is not None,
        "may_export": "export" in reader.scopes and backend.exports is not None,
        "exports_href": exports_path(reader.account_id),
        "theme": theme_of(request),
        "zone": view.zone,
        "only": home.href_with,
    }
