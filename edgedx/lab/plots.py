"""Pictures of a run, saved as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.files import atomic_write

_INK, _GRID = "#22303c", "#d9dfe4"
_COLOURS = ("#0b6e99", "#c8553d", "#5b8c5a", "#8a6fb0", "#c99a2e", "#4f6d7a")


def _figure(width: float, height: float, panels: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, place + 1) for place in range(panels)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color=_GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(colors=_INK)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png")


def learning_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss and val AUC by epoch, with the phases marked."""
    figure, (left, right) = _figure(8, 3.2, 2)
    start, ticks, phases = 0.0, [], []
    for line in history:
        if not phases or phases[-1][0] != line["phase"]:
            start = ticks[-1] if ticks else 0.0
            phases.append((line["phase"], start))
        ticks.append(start + line["epoch"] if line["epoch"] + start > (ticks[-1] if ticks else 0) else line["epoch"])
    left.plot(ticks, [line["loss"] for line in history], marker="o", markersize=3, color=_COLOURS[0])
    right.plot(ticks, [line["val_auc"] for line in history], marker="o", markersize=3, color=_COLOURS[1])
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel="AUC on val")
    for axis in (left, right):
        for name, begin in phases:
            axis.axvline(begin, color=_INK, linewidth=0.6, linestyle=":")
            axis.annotate(name, (begin, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2),
                          textcoords="offset points", fontsize=7, color=_INK, va="top")  # fmt: skip
    _save(figure, path)


def pareto(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """AUC against latency, logarithmic, a point per model sized by its file.

    Parameters
    ----------
    rows : sequence of dict
        ``name``, ``p50_ms``, ``megabytes`` and ``auc`` (dict of value, low, high, or None where it was not measured).
    """
    figure, (axis,) = _figure(7, 4.2)
    for place, row in enumerate(rows):
        colour = _COLOURS[place % len(_COLOURS)]
        if row.get("auc"):
            value, low, high = (row["auc"][key] for key in ("value", "low", "high"))
            axis.errorbar(row["p50_ms"], value, [[value - low], [high - value]], color=colour, capsize=3, linewidth=1)
            axis.scatter(row["p50_ms"], value, s=30 + 12 * row["megabytes"], color=colour, zorder=3, alpha=0.85)
            place_text: dict[str, Any] = {"xytext": (7, 5)}
        else:  # only its latency is known: a line, so that nobody reads an accuracy off it
            value = 0.93
            axis.axvline(row["p50_ms"], color=colour, linewidth=1, linestyle="--")
            place_text = {"xytext": (-6, 0), "xycoords": ("data", "axes fraction"), "ha": "right"}
        label = f"{row['name']}\n{row['p50_ms']:.2f} ms, {row['megabytes']:.1f} MB"
        axis.annotate(label, (row["p50_ms"], value), textcoords="offset points", fontsize=7.5, color=_INK, **place_text)
    axis.set_xscale("log")
    axis.margins(x=0.25)
    axis.set(xlabel="latency P50, ms (logarithmic)", ylabel="AUC on test, 95 % interval")
    axis.set_title(title, fontsize=8.5)
    _save(figure, path)
