"""Exactly once under random faults: what was published is stored or dead-lettered, nothing is there twice.

Producers publish for the whole run, three consumers store; meanwhile consumers, engine and broker are killed,
stopped and continued, requests and answers are lost, cut and delayed, members join and leave, and the disk is
full, as a list says that the seed determines. In the end `auditlog check` must exit 0, and every published
event must be stored once, from its first copy.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos_faults import ENGINE, SHAPES, Fault, Kind, plan
from chaos_load import Load
from chaos_run import FaultRun
from chaos_stack import ChaosStack
from chaos_verdict import Verdict, compare, evidence
from harness import Bench
from servers import Servers
from small_disk import SmallDisk, enter_own_mounts
from steady_servers import SteadyServers

from auditlog_consumer.settings import ConsumerSettings
from auditlog_storage.connection import Connection
from auditlog_storage.settings import StorageSettings

PARTITIONS: Final = 8
DISK_BYTES_MAX: Final = 2 << 30
CATCH_UP_SECONDS_MAX: Final = 180
_ASK_SECONDS_MAX: Final = 10


@dataclass(frozen=True)
class Scale:
    """How much is published, how many faults there are and how far apart."""

    events: int
    faults: int
    gap_seconds: float


FULL: Final = Scale(events=1_000_000, faults=200, gap_seconds=4.0)
QUICK: Final = Scale(events=60_000, faults=10, gap_seconds=2.0)


@dataclass
class Outcome:
    """One run: what was asked and what came of it."""

    load: Load
    run: FaultRun
    stack: ChaosStack
    verdict: Verdict
    checked: subprocess.CompletedProcess[str]
    behind: int
    seconds: float
    disk_bytes: int

    @property
    def well(self) -> bool:
        """Tell whether there is nothing to study."""
        fell = bool(self.checked.returncode or self.behind or self.stack.exits)
        return self.verdict.exact and not fell


def play(servers: Servers, disk: SmallDisk | None, faults: list[Fault], seed: int, scale: Scale) -> Outcome:
    """Publish, make the faults, wait until all is recorded, stop the consumers and compare."""
    topic, topic_id = servers.new_topic(PARTITIONS)
    url = servers.new_database().settings.url.get_secret_value()
    direct = Connection(StorageSettings.load(url=url, request_timeout_seconds=_ASK_SECONDS_MAX))
    stack = ChaosStack(servers, direct, topic)
    length = max(fault.at_seconds + fault.lasting_seconds for fault in faults)
    load = Load(servers.bootstrap, topic, seed, scale.events, length)
    run = FaultRun(stack, disk, direct, topic_id, load.acknowledged)
    stop = threading.Event()
    publishing = threading.Thread(target=load.run, args=(stop,), name="producers", daemon=True)
    try:
        stack.start()
        begun = time.monotonic()
        publishing.start()
        run.begin(faults, begun)
        deadline = begun + length + CATCH_UP_SECONDS_MAX
        run.wait_until_over(deadline)
        load.hurry()
        publishing.join(0.0 if stack.given_up else max(0.0, deadline - time.monotonic()))
        stack.settle()
        behind = run.wait_until_recorded(deadline)
        seconds = time.monotonic() - begun
        if load.failure is not None:
            raise load.failure
        stack.end_consumers()
        settings = ConsumerSettings.load(kafka=servers.bootstrap, topic=topic)
        verdict = compare(load, direct, settings, topic_id)
        outcome = Outcome(
            load, run, stack, verdict, stack.check(), behind, seconds, disk.used_bytes if disk else 0
        )
        if not outcome.well:
            kept = _keep(servers.directory, seed)
            _explain(outcome, direct, kept / "evidence.txt")
        return outcome
    except Exception:
        _keep(servers.directory, seed)
        raise
    finally:
        stop.set()
        run.close()
        stack.close()
        publishing.join(10)


def _keep(logs: Path, seed: int) -> Path:
    """Copy the logs to a directory that stays."""
    kept = Path(tempfile.mkdtemp(prefix=f"auditlog-chaos-{seed}-"))
    for log in logs.glob("*.log*"):
        shutil.copy(log, kept)
    print(f"kept for study: {kept}", flush=True)
    return kept


def _explain(outcome: Outcome, direct: Connection, path: Path) -> None:
    """Write down what is known of the trouble."""
    lines = [
        *_happenings(outcome),
        *outcome.stack.exits,
        f"check exited {outcome.checked.returncode}",
        outcome.checked.stdout,
        outcome.checked.stderr,
        *evidence(outcome.verdict, direct),
    ]
    path.write_text("\n".join(lines) + "\n")


def _happenings(outcome: Outcome) -> list[str]:
    lines = []
    for one in outcome.run.happened:
        recovery = "never" if one.recovered_at is None else f"{one.recovered_at - (one.ended_at or 0):.1f} s"
        lines.append(f"{one.fault}  {'' if one.struck else 'hit nothing  '}recovered: {recovery}  {one.note}")
    return lines


def report(bench: Bench, outcome: Outcome, faults: list[Fault]) -> None:
    """Print what happened; state figures and bars."""
    for line in [*_happenings(outcome), *(f"unexpected: {line}" for line in outcome.stack.exits)]:
        print(line)
    struck = Counter(one.fault.kind for one in outcome.run.happened if one.struck)
    bench.row("fault", "times")
    for kind, times in sorted(struck.items()):
        bench.row(kind, str(times))
        bench.figure(f"fault_{kind}", times)
    verdict, load = outcome.verdict, outcome.load
    figures = {
        "events": load.events,
        "repeats": load.repeats,
        "bad_messages": len(load.bad),
        "dead_letters": verdict.letters,
        "seconds": outcome.seconds,
        "restarts": sum(outcome.stack.restarts.values()),
        "unexpected_exits": len(outcome.stack.exits),
        "requests": outcome.stack.proxy.requests,
        "longest_recovery_seconds": outcome.run.longest_recovery_seconds,
        "disk_megabytes": outcome.disk_bytes / 1e6,
    }
    for name, value in figures.items():
        bench.figure(name, value)
    bench.bar("faults", sum(struck.values()), at_least=len(faults))
    bench.bar("missing", verdict.missing, at_most=0)
    bench.bar("doubled", verdict.doubled, at_most=0)
    strange = verdict.foreign + verdict.misplaced + verdict.letters_missing + verdict.letters_foreign
    bench.bar("foreign or misplaced, rows and dead letters", strange, at_most=0)
    bench.bar("not recorded in the end", outcome.behind, at_most=0)
    bench.bar("exit code of auditlog check", outcome.checked.returncode, at_most=0)
    bench.bar("processes that ended by themselves", len(outcome.stack.exits), at_most=0)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=None, help="of the faults and the load")
    parser.add_argument("--faults", type=int, default=None, help="how many")
    parser.add_argument("--events", type=int, default=None, help="how many")
    parser.add_argument("--only", nargs="+", choices=SHAPES, default=None, help="of these kinds")


def main() -> None:
    no_disk = enter_own_mounts()
    bench = Bench(__doc__ or "", _options)
    scale = QUICK if bench.quick else FULL
    given = bench.options
    scale = Scale(given.events or scale.events, given.faults or scale.faults, scale.gap_seconds)
    seed = given.seed if given.seed is not None else int(time.time())
    kinds = [kind for kind in SHAPES if given.only is None or kind in given.only]
    if no_disk and Kind.FILL_DISK in kinds:
        kinds.remove(Kind.FILL_DISK)
        print(f"left out: fill_disk, because {no_disk}")
    faults = plan(seed, scale.faults, scale.gap_seconds, kinds)
    print(f"seed {seed}; {scale.events:,} events; the faults:")
    print(*faults, sep="\n", flush=True)
    with ExitStack() as held:
        servers = SteadyServers()
        disk = None
        if not no_disk:
            disk = SmallDisk(servers.directory / ENGINE, DISK_BYTES_MAX)
            # Leaving the servers cannot remove the directory that the disk is mounted on.
            held.callback(shutil.rmtree, servers.directory, ignore_errors=True)
            held.callback(disk.close)
        outcome = play(held.enter_context(servers), disk, faults, seed, scale)
    report(bench, outcome, faults)
    bench.finish()


if __name__ == "__main__":
    main()
