"""Every route of the application, found in the application itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route

PAGES = ("/sign-in", "/sign-out", "/accounts/", "/assets/", "/embed/")
"""How the addresses of the pages begin, besides the root."""

# What a request without a mistake brings, by the name of the parameter in the path.
PATH_VALUES = {
    "account": "acc_1",
    "event_id": str(uuid4()),
    "entity_type": "license",
    "entity_id": "lic_1",
    "field": "action",
    "token_id": "tok_0000000000000000",
    "digest": "0",
    "name": "page.css",
    "job": "exp_" + "a" * 26,
    "part": "1",
}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/accounts/{account}/tokens"): {"scope": "read"},
    ("POST", "/v1/accounts/{account}/viewer-tokens"): {},
    ("POST", "/v1/accounts/{account}/exports"): {},
}


@dataclass(frozen=True)
class Address:
    """A method and the template of a path."""

    method: str
    template: str

    def path(self, **changed: str) -> str:
        values = PATH_VALUES | changed
        names = [part[1:-1] for part in self.template.split("/") if part.startswith("{")]
        filled = {name.partition(":")[0]: quote(values[name.partition(":")[0]], safe="") for name in names}
        return self.template.replace(":path", "").format(**filled)

    @property
    def body(self) -> dict[str, Any] | None:
        return BODIES.get((self.method, self.template))

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def addresses(app: FastAPI) -> list[Address]:
    """Every method of every route, sorted."""
    return sorted(set(_of(app.routes)), key=str)


def _of(routes: list[BaseRoute]) -> Iterator[Address]:
    for route in routes:
        if isinstance(route, Route):
            for method in route.methods or ():
                yield Address(method, route.path)
        elif isinstance(route, Mount):
            yield Address("GET", route.path + "/{mounted}")
        else:
            # A router that was included is not taken apart before the first request.
            yield from _of(route.original_router.routes)  # type: ignore[attr-defined]
