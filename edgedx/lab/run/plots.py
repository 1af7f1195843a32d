"""Pictures of a run, saved as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedx.core.files import atomic_write

INK, GRID = "#22303c", "#d9dfe4"
COLOURS = ("#0b6e99", "#c8553d", "#5b8c5a", "#8a6fb0", "#c99a2e", "#4f6d7a")


def new_figure(width: float, height: float, panels: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, place + 1) for place in range(panels)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color=GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(colors=INK)
    return figure, axes


def save_figure(figure: Any, path: Path) -> None:
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png")


def learning_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss and val AUC by epoch, with the phases marked."""
    figure, (left, right) = new_figure(8, 3.2, 2)
    start, ticks, phases = 0.0, [], []
    for line in history:
        if not phases or phases[-1][0] != line["phase"]:
            start = ticks[-1] if ticks else 0.0
            phases.append((line["phase"], start))
        ticks.append(start + line["epoch"] if line["epoch"] + start > (ticks[-1] if ticks else 0) else line["epoch"])
    left.plot(ticks, [line["loss"] for line in history], marker="o", markersize=3, color=COLOURS[0])
    right.plot(ticks, [line["val_auc"] for line in history], marker="o", markersize=3, color=COLOURS[1])
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel="AUC on val")
    for axis in (left, right):
        for name, begin in phases:
            axis.axvline(begin, color=INK, linewidth=0.6, linestyle=":")
            axis.annotate(name, (begin, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2),
                          textcoords="offset points", fontsize=7, color=INK, va="top")  # fmt: skip
    save_figure(figure, path)


def pareto(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """AUC against latency, logarithmic, a point per model sized by its file.

    Parameters
    ----------
    rows : sequence of dict
        ``name``, ``p50_ms``, ``megabytes`` and ``auc`` (dict of value, low, high, or None where it was not measured).
    """
    figure, (axis,) = new_figure(7, 4.2)
    for place, row in enumerate(rows):
        colour = COLOURS[place % len(COLOURS)]
        if row.get("auc"):
            value, low, high = (row["auc"][key] for key in ("value", "low", "high"))
            axis.errorbar(row["p50_ms"], value, [[value - low], [high - value]], color=colour, capsize=3, linewidth=1)
            axis.scatter(row["p50_ms"], value, s=30 + 12 * row["megabytes"], color=colour, zorder=3, alpha=0.85)
            crowded = any(other.get("auc") and 1 < other["p50_ms"] / row["p50_ms"] < 1.6 for other in rows)
            side: dict[str, Any] = {"xytext": (-7, 5), "ha": "right"} if crowded else {"xytext": (7, 5)}
        else:  # only its latency is known: a line, so that nobody reads an accuracy off it
            value = 0.93
            axis.axvline(row["p50_ms"], color=colour, linewidth=1, linestyle="--")
            side = {"xytext": (-6, 0), "xycoords": ("data", "axes fraction"), "ha": "right"}
        label = f"{row['name']}\n{row['p50_ms']:.2f} ms, {row['megabytes']:.1f} MB"
        axis.annotate(label, (row["p50_ms"], value), textcoords="offset points", fontsize=7.5, color=INK, **side)
    axis.set_xscale("log")
    axis.margins(x=0.45)
    axis.set(xlabel="latency P50, ms (logarithmic)", ylabel="AUC on test, 95 % interval")
    axis.set_title(title, fontsize=8.5)
    save_figure(figure, path)


def candidates_plot(
    rows: Sequence[dict[str, Any]], path: Path, *, teacher_auc: float, max_drop: float, max_ms: float | None, title: str
) -> None:
    """Candidates of a budget search: AUC on the gate's split against latency, with the budget as lines.

    Parameters
    ----------
    rows : sequence of dict
        ``name``, ``variant``, ``latency_ms``, ``auc`` and ``chosen``.
    """
    figure, (axis,) = new_figure(7, 4.2)
    ends = [row["latency_ms"] for row in rows] + ([max_ms] if max_ms is not None else [])
    middle = (min(ends) + max(ends)) / 2
    for place, row in enumerate(rows):
        colour = COLOURS[0] if row["chosen"] else "#8796a3"
        left = row["latency_ms"] > middle  # the text goes inwards
        axis.scatter(row["latency_ms"], row["auc"], s=70 if row["chosen"] else 36, color=colour, zorder=3)
        axis.annotate(f"{row['name']}, {row['variant']}", (row["latency_ms"], row["auc"]), textcoords="offset points",
                      xytext=(-7 if left else 7, 5 if place % 2 else -10), ha="right" if left else "left",
                      fontsize=7.5, color=colour)  # fmt: skip
    limit = teacher_auc - max_drop
    axis.axhline(teacher_auc, color=INK, linewidth=0.8)
    axis.axhline(limit, color=COLOURS[1], linewidth=0.8, linestyle="--")
    for height, text, colour in ((teacher_auc, "teacher", INK), (limit, "AUC budget", COLOURS[1])):
        axis.annotate(text, (1.0, height), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                      textcoords="offset points", ha="right", fontsize=7.5, color=colour)  # fmt: skip
    if max_ms is not None:
        axis.axvline(max_ms, color=COLOURS[1], linewidth=0.8, linestyle="--")
        axis.annotate("latency budget", (max_ms, 0.02), xycoords=("data", "axes fraction"), xytext=(-3, 0), rotation=90,
                      textcoords="offset points", ha="right", fontsize=7.5, color=COLOURS[1])  # fmt: skip
    axis.margins(x=0.25, y=0.15)
    axis.set(xlabel="latency P50, ms, one image on one thread", ylabel="AUC on the gate's split")
    axis.set_title(title, fontsize=8.5)
    save_figure(figure, path)
