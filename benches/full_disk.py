"""A disk that is full again and again while rows are stored and merged: nothing acknowledged may be lost.

Writers insert small batches as the consumer does (under a token, read back, the next token only after a
success that stored nothing) into the engine, which has a small disk of its own. At random moments the disk is
filled to the last byte, by shrinking it and by a file in turns. Two rounds: with the space that the product
keeps free, and with none, so that more writes are under way when the disk is full. An engine that ended
because a write failed is started again; for any other reason it may not end.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from full_disk_writers import Writers
from harness import Bench
from small_disk import SmallDisk, enter_own_mounts
from steady_servers import steady_ports

from auditlog_local.child import Child
from auditlog_local.clickhouse.free_space import KEEP_FREE_BYTES
from auditlog_local.clickhouse_child import clickhouse_child
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.errors import AuditError, TransientError
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings

SECONDS: Final = 300.0
QUICK_SECONDS: Final = 14.0
DISK_BYTES_MAX: Final = 512 << 20
FULL_SECONDS: Final = (0.3, 1.5)
GAP_SECONDS: Final = (0.8, 3.0)
EXTRA_SECONDS_MAX: Final = 60.0
READY_SECONDS_MAX: Final = 60.0
FAILED_WRITE: Final = 3
_LOOK_SECONDS: Final = 0.2
_FAULTY: Final = """
    SELECT table, name, exception FROM system.projection_parts
    WHERE active AND database = currentDatabase() AND is_broken
"""


@dataclass
class Round:
    """What became of one round.

    Attributes:
        ends: how often the engine ended by itself, by exit code.
        acknowledged: rows that were read back.
        missing, doubled: of these, in the end.
        unreadable: errors when every column of every row is read, and damaged projections.
    """

    full: int = 0
    ends: Counter[int] = field(default_factory=Counter)
    acknowledged: int = 0
    missing: int = 0
    doubled: int = 0
    unreadable: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    set_aside: int = 0


class Engine:
    """The engine on its small disk, started again whenever it ends."""

    def __init__(self, directory: Path, keep_free_bytes: int) -> None:
        self.disk = SmallDisk(directory / "clickhouse", DISK_BYTES_MAX)
        (port,) = steady_ports(1)
        spec = clickhouse_child(directory / "clickhouse", port)
        argv = (*spec.argv, "--keep-free-bytes", str(keep_free_bytes))
        self.child = Child(replace(spec, argv=argv), directory)
        self.ends = Counter[int]()
        self.connection = Connection(StorageSettings.load(url=f"http://default:@127.0.0.1:{port}/full"))
        self._ending = threading.Event()
        self._guard = threading.Thread(target=self._restart, name="guard", daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it meanwhile."""
        try:
            self.child.start()
            self.child.wait_ready()
            self._guard.start()
            yield
        finally:
            self._ending.set()
            if self._guard.is_alive():
                self._guard.join(10)
            self.connection.close()
            self.child.kill()
            self.disk.close()

    def wait_ready(self) -> None:
        """Return when it answers, also after some restarts."""
        self.connection.wait_until_ready(READY_SECONDS_MAX)

    def _restart(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            if (code := self.child.exit_code()) is not None:
                self.ends[code] += 1
                self.child.start()


def play(directory: Path, keep_free_bytes: int, seed: int, seconds: float) -> Round:
    """Write and fill the disk for some seconds; then count what is there."""
    chance = random.Random(seed)
    engine = Engine(directory, keep_free_bytes)
    found = Round()
    with engine.running():
        migrate(engine.connection, load_catalog())
        writers = Writers(engine.connection, seed)
        with writers.writing():
            until = time.monotonic() + seconds
            # Where nothing is kept free the test is void without a write that fails.
            while time.monotonic() < until + (0 if keep_free_bytes or engine.ends else EXTRA_SECONDS_MAX):
                time.sleep(chance.uniform(*GAP_SECONDS))
                with engine.disk.full() if found.full % 2 else engine.disk.filled():
                    time.sleep(chance.uniform(*FULL_SECONDS))
                found.full += 1
                engine.wait_ready()
        engine.wait_ready()
        _look(engine.connection, writers, found)
    found.ends, found.refused = engine.ends, writers.refused
    return found


def _look(connection: Connection, writers: Writers, found: Round) -> None:
    """Count what was acknowledged, in the table itself, and read all of it."""
    for partition, until in sorted(writers.acknowledged.items()):
        different, rows = _patiently(connection, writers.count(partition, until))
        found.acknowledged += until
        found.missing += until - different
        found.doubled += rows - different
    for table in ("audit_events", "audit_ranges"):
        with _noted(found.unreadable):
            _patiently(connection, (f"SELECT sum(ignore(*)) FROM {table}", {}))
    # They are made again in the background.
    deadline = time.monotonic() + READY_SECONDS_MAX
    while (broken := connection.query_rows(_FAULTY)) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    found.unreadable += [f"projection of {table} {part}: {why[:200]}" for table, part, why in broken]
    [(found.set_aside,)] = connection.query_rows("SELECT count() FROM system.detached_parts")


def _patiently(connection: Connection, question: tuple[str, dict[str, object]]) -> tuple[int, ...]:
    sql, values = question
    while True:
        try:
            # Not by the projection: it may differ from the table.
            [row] = connection.query_rows(sql, values, {"optimize_use_projections": 0})
            return row
        except TransientError:
            time.sleep(_LOOK_SECONDS)


@contextmanager
def _noted(errors: list[str]) -> Iterator[None]:
    try:
        yield
    except AuditError as error:
        errors.append(str(error)[:500])


def report(bench: Bench, rounds: dict[str, Round]) -> None:
    """Print the rounds; state figures and bars."""
    bench.row("round", "full", "ends", "acknowledged", "missing", "doubled", "set aside")
    for name, one in rounds.items():
        figures = (one.full, one.ends.total(), one.acknowledged, one.missing, one.doubled, one.set_aside)
        bench.row(name, *(f"{figure:,}" for figure in figures))
        for what, figure in zip(("full", "ends", "acknowledged"), figures, strict=False):
            bench.figure(f"{name.replace(' ', '_')}_{what}", figure)
        print(*one.unreadable, *one.refused, sep="\n", end="")
    every = list(rounds.values())
    bench.bar("rounds in which rows were stored", sum(one.acknowledged > 0 for one in every), at_least=2)
    bench.bar("failed writes that were noticed", sum(one.ends[FAILED_WRITE] for one in every), at_least=1)
    bench.bar("missing", sum(one.missing for one in every), at_most=0)
    bench.bar("doubled", sum(one.doubled for one in every), at_most=0)
    bench.bar("unreadable", sum(len(one.unreadable) for one in every), at_most=0)
    bench.bar("refused for good", sum(len(one.refused) for one in every), at_most=0)
    others = sum(one.ends.total() - one.ends[FAILED_WRITE] for one in every)
    bench.bar("ends for another reason", others, at_most=0)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1, help="of the times and lengths")
    parser.add_argument("--seconds", type=float, default=None, help="of each round")


def main() -> None:
    if no_disk := enter_own_mounts():
        raise SystemExit(f"this bench needs a disk of its own: {no_disk}")
    bench = Bench(__doc__ or "", _options)
    seconds = bench.options.seconds or (QUICK_SECONDS if bench.quick else SECONDS)
    rounds = {}
    for name, keep_free_bytes in (("space kept free", KEEP_FREE_BYTES), ("none kept free", 0)):
        directory = Path(tempfile.mkdtemp(prefix="auditlog-bench-"))
        try:
            rounds[name] = play(directory, keep_free_bytes, bench.options.seed, seconds)
        finally:
            with suppress(OSError):
                shutil.rmtree(directory)
    report(bench, rounds)
    bench.finish()


if __name__ == "__main__":
    main()
