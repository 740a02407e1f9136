"""The application: every route, behind one edge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from auditlog_api import metrics, session
from auditlog_api.backend import Backend
from auditlog_api.edge import Edge
from auditlog_api.health import AskKafka
from auditlog_api.openapi import install_openapi
from auditlog_api.own_events import OwnEvents
from auditlog_api.pages.export_pages import router as export_pages_router
from auditlog_api.pages.routes import router as pages_router
from auditlog_api.problem import install_problems
from auditlog_api.routes import actions, events, health, summaries, tail, tokens
from auditlog_api.routes import exports as export_routes
from auditlog_api.settings import ApiSettings
from auditlog_exports.jobs import Jobs
from auditlog_schemas.catalog import Catalog
from auditlog_storage.connection import Connection

SECONDS_OF_A_PREFLIGHT = 600


def create_app(
    settings: ApiSettings,
    connection: Connection,
    catalog: Catalog,
    own_events: OwnEvents | None = None,
    kafka: AskKafka | None = None,
    exports: Jobs | None = None,
) -> FastAPI:
    """Return the application; it asks nobody before its first request.

    Args:
        settings: limits and keys.
        connection: to ClickHouse; closed by the caller, after the application has ended.
        catalog: of the actions.
        own_events: publishes audit events of the API's own; None publishes none. Closed by the caller.
        kafka: asks Kafka how far its log has been stored; None when nobody here can.
        exports: the jobs of bulk export; without them their routes answer 501.
    """
    backend = Backend(settings, connection, catalog, own_events or OwnEvents(None, catalog), kafka, exports)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        metrics.INFO.labels(version("auditlog")).set(1)
        async with backend.running():
            yield

    app = FastAPI(
        title="auditlog",
        version=version("auditlog"),
        lifespan=lifespan,
        # Served by a route of ours; the pages that show it load scripts from elsewhere.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.backend = backend
    install_problems(app)
    install_openapi(app)
    for router in (
        tail.router,
        events.router,
        summaries.router,
        actions.router,
        tokens.router,
        export_routes.router,
        health.router,
    ):
        app.include_router(router)
    app.include_router(session.router)
    app.include_router(pages_router)
    app.include_router(export_pages_router)
    # The last one added is the outermost.
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=["Link", "Retry-After", "X-Request-Id"],
            max_age=SECONDS_OF_A_PREFLIGHT,
        )
    app.add_middleware(Edge, settings=settings)
    return app
