# mypy: disable-error-code="import-not-found"
"""The plot of `scaling.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Curve:
    """Microseconds an event over x."""

    label: str
    x: Sequence[int]
    micros: Sequence[float]


def draw(path: Path, sizes: Sequence[Curve], partitions: Sequence[Curve], partitions_title: str) -> None:
    """Draw both comparisons side by side, from zero, so that flat looks flat."""
    # The same figures give the same file, so that a diff shows a change.
    mpl.rcParams["svg.hashsalt"] = "auditlog"
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, curves, label in (
        (left, sizes, "events in the backlog (8 partitions)"),
        (right, partitions, f"partitions ({partitions_title})"),
    ):
        for curve in curves:
            axes.plot(curve.x, curve.micros, marker="o", label=curve.label)
        axes.set_xscale("log")
        axes.set_xticks(list(curves[0].x), [f"{value:,}" for value in curves[0].x])
        axes.minorticks_off()
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    left.set_ylabel("microseconds per event")
    left.set_ylim(bottom=0)
    right.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
