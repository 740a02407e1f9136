"""Decoding alone: ours against fastavro and against ClickHouse's own Avro reader, on the same bytes.

Events per second of CPU time of one core. In each turn ours decodes 50,000 events, batch after batch;
ClickHouse reads the same bodies from an object container file in memory, one block a batch, with one thread
in one query; fastavro reads a thousand of them message by message, as a consumer would. ours-validated adds
the checks of every limit, the catalog and the clock.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from chdb import session as chdb_session
from harness import Bench, Speed
from sample_messages import SIZES, sample_messages

from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import EVENT_SCHEMA, SINGLE_OBJECT_HEADER_BYTES, WriterSchemas
from auditlog_schemas.columnar_chunk import Chunk
from auditlog_schemas.columnar_events import EventDecoder
from auditlog_schemas.validate import BatchValidator

BATCHES = (1_000, 10_000, 50_000)
TURN_EVENTS = max(BATCHES)
FASTAVRO_EVENTS = 1_000
STEP_EVENTS = 8_000
STEP_ROUNDS = 60
RECEIVED_MICROS = 1 << 60
SYNC = b"auditlog decode."


Batches = list[list[bytes]]


def ours(batches: Batches) -> Callable[[], int]:
    decoder = EventDecoder(WriterSchemas())

    def run() -> int:
        return sum(len(decoder.decode(batch).good) for batch in batches)

    assert run() == TURN_EVENTS
    return run


def ours_validated(batches: Batches) -> Callable[[], int]:
    decoder, validator = EventDecoder(WriterSchemas()), BatchValidator(load_catalog())
    received = np.full(len(batches[0]), RECEIVED_MICROS)

    def run() -> int:
        for batch in batches:
            assert not validator.validate(decoder.decode(batch).batch, received).any()
        return TURN_EVENTS

    return run


def with_fastavro(batches: Batches) -> Callable[[], int]:
    schema = fastavro.parse_schema(EVENT_SCHEMA)
    some = batches[0][:FASTAVRO_EVENTS]

    def run() -> int:
        for message in some:
            fastavro.schemaless_reader(BytesIO(message[SINGLE_OBJECT_HEADER_BYTES:]), schema, None)
        return len(some)

    return run


def with_clickhouse(session: Any, directory: Path, batches: Batches) -> Callable[[], int]:
    path = directory / f"{len(batches)}.avro"
    path.write_bytes(container_file(batches))
    found = str(session.query(f"SELECT count(DISTINCT event_id) FROM file('{path}', Avro)", "TSV")).strip()
    assert int(found) == TURN_EVENTS

    def run() -> int:
        session.query(f"SELECT * FROM file('{path}', Avro) SETTINGS max_threads=1 FORMAT Null")
        return TURN_EVENTS

    return run


def container_file(batches: Batches) -> bytes:
    """Return an Avro object container file of the messages' bodies, one block a batch."""
    header = BytesIO()
    fastavro.writer(header, EVENT_SCHEMA, [], sync_marker=SYNC)
    blocks = [header.getvalue()]
    for batch in batches:
        body = b"".join(message[SINGLE_OBJECT_HEADER_BYTES:] for message in batch)
        blocks += [long(len(batch)), long(len(body)), body, SYNC]
    return b"".join(blocks)


def long(number: int) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, number)
    return out.getvalue()


@contextmanager
def clickhouse() -> Iterator[tuple[Any, Path]]:
    """Run the engine on a directory in memory, where there is one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        untyped: Any = chdb_session
        session = untyped.Session(f"{directory}/engine")
        try:
            yield session, Path(directory)
        finally:
            session.close()


def steps(messages: list[bytes]) -> dict[str, float]:
    """Return the fewest seconds that each step of decoding one chunk took."""
    decoder, best = EventDecoder(WriterSchemas()), dict[str, float]()
    for _ in range(STEP_ROUNDS):
        clock = time.perf_counter()

        def lap(step: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            best[step], clock = min(best.get(step, 1.0), now - clock), now

        lengths = np.fromiter(map(len, messages), np.int64, len(messages))
        lap("lengths")
        chunk = Chunk.of(messages, lengths, np.zeros(len(messages), np.int16))
        lap("join")
        (group,) = decoder.groups(chunk, {})
        lap("framing and schema")
        build = group.decoder.read(chunk, group.rows, group.header_bytes)
        lap("walk")
        chunk.texts.copied()
        lap("copy strings")
        build()
        lap("build columns")
        chunk.judge_content()
        lap("check UTF-8")
    return best


def report_steps(bench: Bench, messages: list[bytes]) -> None:
    found = steps(messages)
    whole = sum(found.values())
    print(f"one chunk of {len(messages):,} ordinary events in cache, {len(messages) / whole:,.0f} a second:")
    for step, seconds in found.items():
        print(f"  {step:20}{seconds / len(messages) * 1e9:6.0f} ns an event  {seconds / whole:4.0%}")
        bench.figure(f"step.{step}.nanoseconds", seconds / len(messages) * 1e9)


def report(bench: Bench, size: str, batch: int, bytes_each: float, found: dict[str, Speed]) -> None:
    speed = {name: round(speed.per_cpu_second) for name, speed in found.items()}
    for name, value in speed.items():
        bench.figure(f"{size}.{batch}.{name}.events_per_cpu_second", value)
    ratios = {name: speed["ours"] / speed[name] for name in ("fastavro", "clickhouse")}
    for name, ratio in ratios.items():
        bench.figure(f"{size}.{batch}.ours_by_{name}", ratio)
    bench.row(
        f"{size} ({bytes_each:,.0f} B)",
        f"{batch:,}",
        *(f"{value:,}" for value in speed.values()),
        *(f"{ratio:.1f}x" for ratio in ratios.values()),
    )
    if (size, batch) == ("ordinary", 10_000):
        bench.bar("ours / fastavro, 10,000 ordinary events", ratios["fastavro"], at_least=10)
        bench.bar("ours / ClickHouse's reader, 10,000 ordinary events", ratios["clickhouse"], at_least=0.8)


def main() -> None:
    bench = Bench("Decode Avro events: ours, fastavro, ClickHouse's reader.")
    bench.row(
        "events", "batch", "ours", "ours-validated", "fastavro", "clickhouse", "/fastavro", "/clickhouse"
    )
    report_steps(bench, sample_messages("ordinary", STEP_EVENTS))
    with clickhouse() as (session, directory):
        for size in SIZES:
            messages = sample_messages(size, TURN_EVENTS)
            bytes_each = sum(map(len, messages)) / len(messages)
            for batch in BATCHES:
                batches = [messages[first : first + batch] for first in range(0, TURN_EVENTS, batch)]
                subjects = {
                    "ours": ours(batches),
                    "ours-validated": ours_validated(batches),
                    "fastavro": with_fastavro(batches),
                    "clickhouse": with_clickhouse(session, directory, batches),
                }
                found = bench.compare(subjects, seconds=1.5 if bench.quick else 8)
                report(bench, size, batch, bytes_each, found)
    bench.finish()


if __name__ == "__main__":
    main()
