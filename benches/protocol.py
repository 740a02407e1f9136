"""What exactly-once costs: the product's consumer against the same consumer with the protocol switched off.

Both store the same backlog of ordinary events, in turns. Off means (`peers/without_protocol.py`): nothing is
announced or confirmed, no copies are looked for, nothing is read back or recorded.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Final

from consumer_run import Run, peer, product, run_until_stored
from event_load import load_topic
from harness import Bench
from servers import Servers

PARTITIONS: Final = 8
EVENTS: Final = 1_000_000
QUICK_EVENTS: Final = 300_000
ROUNDS: Final = 5
QUICK_ROUNDS: Final = 2
RUN_SECONDS_MAX: Final = 300
ON, OFF = "with the protocol", "without"


def run(servers: Servers, topic: str, events: int, on: bool) -> Run:
    """Store the topic into empty tables."""
    connection = servers.new_database()
    try:
        spec = product(servers, connection.settings.url.get_secret_value(), topic)
        if not on:
            other = peer("without_protocol")
            spec = replace(spec, name=other.name, argv=other.argv, env={**spec.env, **other.env})
        done = run_until_stored(servers, spec, events, RUN_SECONDS_MAX)
        [(rows,)] = connection.query_rows("SELECT count() FROM audit_events")
        if rows != events:
            raise RuntimeError(f"{events} events were reported as stored, the table has {rows}")
        return done
    finally:
        servers.drop(connection)


def main() -> None:
    bench = Bench(__doc__ or "")
    events, rounds = (QUICK_EVENTS, QUICK_ROUNDS) if bench.quick else (EVENTS, ROUNDS)
    runs: dict[str, list[Run]] = {ON: [], OFF: []}
    with Servers() as servers:
        topic, _ = servers.new_topic(PARTITIONS)
        load_topic(servers.bootstrap, topic, events)
        for number in range(rounds):
            # In turns, and each of them first in every other round.
            for on in (True, False) if number % 2 else (False, True):
                runs[ON if on else OFF].append(run(servers, topic, events, on))
    bench.row("", "events/s", "consumer us/event", "engine us/event")
    for name, found in runs.items():
        figures = {
            "per_second": median(one.per_second for one in found),
            "consumer_us_per_event": median(one.consumer_micros for one in found),
            "engine_us_per_event": median(one.engine_micros for one in found),
        }
        rate, consumer, engine = figures.values()
        bench.row(name, f"{rate:,.0f}", f"{consumer:.2f}", f"{engine:.2f}")
        for figure, value in figures.items():
            bench.figure(f"{name.replace(' ', '_')}_{figure}", value)
    cost = 1 - median(a.per_second / b.per_second for a, b in zip(runs[ON], runs[OFF], strict=True))
    bench.bar("part of the throughput that the protocol costs", cost, at_most=0.10)
    bench.finish()


if __name__ == "__main__":
    main()
