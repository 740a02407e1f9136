"""How long do people wait for the log? Pages, items, single events, histograms, facets and free text.

50,000,000 events are made inside the engine (`query_log.py`), 5,000,000 of them of one account, and merged.
Each question is asked of that account, one after the other on an otherwise idle machine: of the storage
reader, and over HTTP of `auditlog api` in a process of its own, with a token. What the API adds is the
difference of both medians for the same question. The first page is timed at a tenth of the events, too.
"""

from __future__ import annotations

import argparse
import time
from typing import Final

import httpx
from api_process import served
from harness import Bench
from query_log import LARGEST, QueryLog
from query_subjects import CountingConnection, Timed, find_samples, questions, time_http, time_storage
from servers import Servers

from auditlog_api.new_token import made_token
from auditlog_storage.connection import Connection
from auditlog_storage.settings import StorageSettings
from auditlog_storage.tokens import TokenTable

FULL_ROWS, QUICK_ROWS = 50_000_000, 800_000
CALLS, QUICK_CALLS = 60, 10
FLAT: Final = 1.2
"""How much longer the first page may take in the whole log than in a tenth of it."""
API_MILLISECONDS_MAX: Final = 8.0
_LOADING_SECONDS_MAX: Final = 3_600


def client_of(connection: Connection, address: str) -> httpx.Client:
    """Return a client of the API, signed in with a token of the largest account."""
    text, token = made_token(
        account_id=LARGEST, scope="read", name="bench", created_by="bench", expires_in_seconds=None
    )
    TokenTable(connection).add(token)
    headers = {"Authorization": f"Bearer {text}"}
    return httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=60)


def first_page(connection: CountingConnection, calls: int) -> float:
    """Return the median time of the first page in milliseconds."""
    [question] = [one for one in questions(find_samples(connection)) if one.name == "first page"]
    return time_storage(connection, question, calls).percentile(0.5)


def report(bench: Bench, name: str, storage: Timed, http: Timed | None, milliseconds_max: float) -> None:
    """Add a row, its figures and its bar."""
    cells = [f"{storage.percentile(share):.1f}" for share in (0.5, 0.95)]
    cells += [f"{http.percentile(share):.1f}" if http else "" for share in (0.5, 0.95)]
    bench.row(
        name, *cells, f"{storage.answered:,}", f"{storage.read_rows:,}", f"{storage.read_bytes / 1e6:.1f}"
    )
    key = "".join(letter if letter.isalnum() else "_" for letter in name)
    for share, label in ((0.5, "p50"), (0.95, "p95")):
        bench.figure(f"{key}_storage_{label}_ms", storage.percentile(share))
        if http:
            bench.figure(f"{key}_http_{label}_ms", http.percentile(share))
    bench.figure(f"{key}_read_rows", storage.read_rows)
    bench.figure(f"{key}_read_mb", storage.read_bytes / 1e6)
    slower = (http or storage).percentile(0.95)
    bench.bar(f"{name}, p95 in ms", slower, at_most=milliseconds_max)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=None, help="of the log")
    parser.add_argument("--calls", type=int, default=None, help="of each question")


def main() -> None:
    bench = Bench(__doc__ or "", _options)
    rows = bench.options.rows or (QUICK_ROWS if bench.quick else FULL_ROWS)
    calls = bench.options.calls or (QUICK_CALLS if bench.quick else CALLS)
    with Servers(with_kafka=False) as servers:
        url = servers.new_database().settings.url.get_secret_value()
        loading = Connection(StorageSettings.load(url=url, request_timeout_seconds=_LOADING_SECONDS_MAX))
        log, connection = QueryLog(loading, rows), CountingConnection(StorageSettings.load(url=url))
        begun = time.monotonic()
        # A tenth of each day, not the first tenth of the year: the same questions of a thinner log.
        thin = QueryLog(loading, rows // 10)
        thin.grow(rows // 10)
        thin.settle()
        page_of_tenth = first_page(connection, calls)
        loading.command("TRUNCATE TABLE audit_events")
        log.grow(rows)
        log.settle()
        parts, size = log.parts()
        print(f"{rows:,} rows in {parts} parts, {size / 1e9:.2f} GB, {time.monotonic() - begun:.0f} s")
        bench.row(
            "of the largest account", "p50 ms", "p95 ms", "HTTP p50", "HTTP p95", "found", "rows", "MB read"
        )
        overheads: dict[str, float] = {}
        with served(servers, connection) as address, client_of(connection, address) as client:
            for question in questions(find_samples(connection)):
                storage = time_storage(connection, question, calls)
                http = time_http(client, question, calls) if question.path else None
                report(bench, question.name, storage, http, question.milliseconds_max)
                if http:
                    overheads[question.name] = http.percentile(0.5) - storage.percentile(0.5)
                if question.name == "first page":
                    growth = storage.percentile(0.5) / page_of_tenth
    bench.figure("rows", rows)
    bench.figure("disk_bytes_per_event", size / rows)
    bench.bar(
        "API overhead of the first page, p50 in ms", overheads["first page"], at_most=API_MILLISECONDS_MAX
    )
    bench.bar("first page in the whole log / in a tenth of it", growth, at_most=FLAT)
    bench.finish()


if __name__ == "__main__":
    main()
