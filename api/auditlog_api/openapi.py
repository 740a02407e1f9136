"""The OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic_core import to_json
from starlette.responses import Response

from auditlog_api.models import ProblemDocument

ABOUT: Final = """\
The audit log of an account. Every address under an account needs a token of it; what another account
has is answered like what nobody has, with 404. docs/api.md has examples.
"""


def install_openapi(app: FastAPI) -> None:
    """Make `/openapi.json` the document of all routes, with the problems that they may answer with."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title,
                version=app.version,
                description=ABOUT,
                routes=app.routes,
                openapi_version=app.openapi_version,
            )
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs", {})
            schemas["ProblemDocument"] = problem
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    written: list[bytes] = []

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        if not written:
            written.append(to_json(document()))
        return Response(written[0], media_type="application/json")
