"""Does an event cost the same in a small backlog and a large one, in one partition and in eight?

The product's consumer stores backlogs of several sizes from 8 partitions, and one size from several numbers
of partitions, each into empty tables. A run also has a fixed part, most of it the last batches' wait for more
(`flush_interval_seconds`): it is measured with a backlog of 1,000 events for each number of partitions,
shown, and taken off before a time is divided by the number of events. Flat means that the dearest and the
cheapest differ by 20% at most.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from consumer_run import Run, product, run_until_stored
from event_load import load_topic
from harness import Bench
from servers import Servers

SPREAD_MAX: Final = 1.2
PARTITIONS: Final = 8
FIXED_EVENTS: Final = 1_000
RUN_SECONDS_MAX: Final = 900


@dataclass(frozen=True)
class Plan:
    """Sizes of backlogs in 8 partitions, and numbers of partitions for one of these sizes."""

    sizes: tuple[int, ...]
    partitions: tuple[int, ...]
    partitions_events: int
    rounds_of_small: int
    rounds_of_fixed: int


FULL: Final = Plan(
    (100_000, 1_000_000, 10_000_000), (1, 2, 4, 8), 1_000_000, rounds_of_small=5, rounds_of_fixed=3
)
QUICK: Final = Plan(
    sizes=(50_000, 100_000, 200_000),
    partitions=(1, 8),
    partitions_events=100_000,
    rounds_of_small=1,
    rounds_of_fixed=1,
)


@dataclass(frozen=True, slots=True)
class EventCost:
    """Microseconds for one event, the fixed part of a run taken off."""

    consumer_micros: float
    wall_micros: float
    engine_micros: float


@dataclass(frozen=True, slots=True)
class Fixed:
    """What a run costs that hardly stores anything, in seconds."""

    consumer_cpu_seconds: float
    wall_seconds: float
    engine_cpu_seconds: float

    def cost(self, run: Run) -> EventCost:
        """Return what an event of the run cost beyond the fixed part."""
        per_event = 1e6 / run.events
        return EventCost(
            (run.consumer_cpu_seconds - self.consumer_cpu_seconds) * per_event,
            (run.wall_seconds - self.wall_seconds) * per_event,
            (run.engine_cpu_seconds - self.engine_cpu_seconds) * per_event,
        )


def store_backlog(servers: Servers, partitions: int, events: int, rounds: int = 1) -> list[Run]:
    """Load a topic once and store it so many times."""
    topic, _ = servers.new_topic(partitions)
    load_topic(servers.bootstrap, topic, events)
    runs = []
    for _ in range(rounds):
        connection = servers.new_database()
        url = connection.settings.url.get_secret_value()
        runs.append(run_until_stored(servers, product(servers, url, topic), events, RUN_SECONDS_MAX))
        [(rows,)] = connection.query_rows("SELECT count() FROM audit_events")
        if rows != events:
            raise RuntimeError(f"{events} events were reported as stored, the table has {rows}")
        servers.drop(connection)
    return runs


def fixed_part(servers: Servers, partitions: int, rounds: int) -> Fixed:
    """Return the medians over some runs with hardly any events."""
    runs = store_backlog(servers, partitions, FIXED_EVENTS, rounds)
    return Fixed(
        median(run.consumer_cpu_seconds for run in runs),
        median(run.wall_seconds for run in runs),
        median(run.engine_cpu_seconds for run in runs),
    )


def median_cost(costs: list[EventCost]) -> EventCost:
    return EventCost(
        median(cost.consumer_micros for cost in costs),
        median(cost.wall_micros for cost in costs),
        median(cost.engine_micros for cost in costs),
    )


def measure(servers: Servers, plan: Plan, fixed: Mapping[int, Fixed]) -> dict[tuple[int, int], EventCost]:
    """Return the costs by (partitions, events), with the fixed part by partitions taken off."""
    wanted = [(PARTITIONS, size) for size in plan.sizes]
    wanted += [(number, plan.partitions_events) for number in plan.partitions]
    costs = {}
    for partitions, events in dict.fromkeys(wanted):
        rounds = plan.rounds_of_small if events < 1_000_000 else 1
        runs = store_backlog(servers, partitions, events, rounds)
        costs[partitions, events] = median_cost([fixed[partitions].cost(run) for run in runs])
        print(f"{events:,} events in {partitions} partitions: done", flush=True)
    return costs


def report(bench: Bench, fixed: Mapping[int, Fixed], costs: Mapping[tuple[int, int], EventCost]) -> None:
    for number, part in fixed.items():
        print(
            f"fixed part with {number} partitions: {part.wall_seconds:.2f} s; CPU of the consumer "
            f"{part.consumer_cpu_seconds:.2f} s, of the engine {part.engine_cpu_seconds:.2f} s"
        )
        for name in ("consumer_cpu", "wall", "engine_cpu"):
            bench.figure(f"fixed_{name}_seconds_{number}_partitions", getattr(part, f"{name}_seconds"))
    bench.row("partitions", "events", "consumer us/event", "wall us/event", "engine us/event")
    for (partitions, events), cost in costs.items():
        figures = {"consumer": cost.consumer_micros, "wall": cost.wall_micros, "engine": cost.engine_micros}
        bench.row(str(partitions), f"{events:,}", *(f"{value:.2f}" for value in figures.values()))
        for name, value in figures.items():
            bench.figure(f"{name}_us_per_event_{partitions}_partitions_{events}_events", value)


def judge(bench: Bench, plan: Plan, costs: Mapping[tuple[int, int], EventCost]) -> None:
    groups = {
        "sizes": [costs[PARTITIONS, size] for size in plan.sizes],
        "partitions": [costs[number, plan.partitions_events] for number in plan.partitions],
    }
    for name, group in groups.items():
        for what in ("consumer", "wall"):
            # A busy machine can make a small run cheaper than its fixed part: then it is no measurement.
            values = [max(getattr(cost, f"{what}_micros"), 1e-3) for cost in group]
            figure = max(values) / min(values)
            bench.bar(f"{what} per event across {name}, dearest / cheapest", figure, at_most=SPREAD_MAX)


def plot(path: Path, plan: Plan, costs: Mapping[tuple[int, int], EventCost]) -> None:
    """Draw the costs over the sizes and over the numbers of partitions."""
    from scaling_plot import Curve, draw

    def curves(keys: list[tuple[int, int]], x: list[int]) -> list[Curve]:
        return [
            Curve(label, x, [getattr(costs[key], name) for key in keys])
            for label, name in (
                ("wall", "wall_micros"),
                ("engine CPU", "engine_micros"),
                ("consumer CPU", "consumer_micros"),
            )
        ]

    sizes, numbers = list(plan.sizes), list(plan.partitions)
    draw(
        path,
        curves([(PARTITIONS, size) for size in sizes], sizes),
        curves([(number, plan.partitions_events) for number in numbers], numbers),
        f"{plan.partitions_events:,} events",
    )


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--plot", type=Path, help="draw the figures into this file (.svg or .png)")


def main() -> None:
    bench = Bench(__doc__ or "", add_options)
    plan = QUICK if bench.quick else FULL
    with Servers() as servers:
        fixed = {
            number: fixed_part(servers, number, plan.rounds_of_fixed)
            for number in dict.fromkeys((*plan.partitions, PARTITIONS))
        }
        costs = measure(servers, plan, fixed)
    report(bench, fixed, costs)
    judge(bench, plan, costs)
    if bench.options.plot:
        plot(bench.options.plot, plan, costs)
    bench.finish()


if __name__ == "__main__":
    main()
