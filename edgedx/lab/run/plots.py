"""Pictures of a run, saved as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgedx.core.files import atomic_write

_MARKERS = ("o", "s", "^", "D")
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


def history_figure(history: Sequence[Mapping[str, Any]], title: str) -> Any:
    """Loss on train and val, and AUC on val below it, by epoch; a dotted line where a phase begins.

    Epochs are counted through: those of a second phase follow those of the first.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (upper, lower) = new_figure(4.6, 3.8, 2)
    grid = figure.add_gridspec(2, 1)
    upper.set_subplotspec(grid[0])
    lower.set_subplotspec(grid[1])
    epochs, starts = [], []
    begin, phase = 0.0, None
    for line in history:
        if line["phase"] != phase:
            begin, phase = (epochs[-1] if epochs else 0.0), line["phase"]
            starts.append((begin, str(phase)))
        epochs.append(begin + float(line["epoch"]))
    style = {"marker": "o", "markersize": 3, "linewidth": 1.4}
    upper.plot(epochs, [line["loss"] for line in history], color=COLOURS[0], label="train", **style)
    if all(line.get("val_loss") is not None for line in history):  # older runs did not keep it
        upper.plot(epochs, [line["val_loss"] for line in history], color=COLOURS[1], label="val", **style)
        upper.legend(fontsize=7.5, frameon=False)
    lower.plot(epochs, [line["val_auc"] for line in history], color=COLOURS[1], **style)
    for axis, word in ((upper, "loss"), (lower, "AUC on val")):
        axis.set_ylabel(word, fontsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlim(0, max(epochs) * 1.03)
        for start, _ in starts[1:]:
            axis.axvline(start, color=INK, linewidth=0.6, linestyle=":")
    for start, name in starts if len(starts) > 1 else ():
        lower.annotate(name, (start, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -8), fontsize=7,
                       textcoords="offset points", color=INK)  # fmt: skip
    upper.set_title(title, fontsize=9.5)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("epoch")
    return figure


def learning_curves(history: Sequence[Mapping[str, Any]], path: Path, title: str = "Learning curves") -> None:
    """`history_figure` as PNG."""
    save_figure(history_figure(history, title), path)


def pareto(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """AUC against latency, logarithmic, a point per model sized by its file.

    Parameters
    ----------
    rows : sequence of dict
        ``name``, ``p50_ms``, ``megabytes`` and ``auc`` (dict of value, low, high, or None where it was not measured).
    """
    figure, (axis,) = new_figure(7, 3.9 + 0.2 * len(rows))
    times = [row["p50_ms"] for row in rows]
    low, high = min(times) / 1.6, max(times) * 1.6
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    _plain_ticks(axis, low, high)
    for index, row in enumerate(sorted(rows, key=lambda row: float(row["p50_ms"]))):
        colour, marker = COLOURS[index % len(COLOURS)], _MARKERS[index // len(COLOURS) % len(_MARKERS)]
        # Names stand in a list below: beside the points they would cover one another.
        label = f"{row['name']}: {row['p50_ms']:.2f} ms, {row['megabytes']:.1f} MB"
        if row.get("auc"):
            value = row["auc"]["value"]
            bottom, top = (value if row["auc"][end] is None else row["auc"][end] for end in ("low", "high"))
            axis.errorbar(row["p50_ms"], value, [[value - bottom], [top - value]], color=colour, capsize=3, linewidth=1)
            axis.scatter(row["p50_ms"], value, s=30 + 12 * min(row["megabytes"], 30), color=colour, marker=marker,
                         zorder=3, alpha=0.85, label=label)  # fmt: skip
        else:  # only its latency is known: a line, so that nobody reads an accuracy off it
            axis.axvline(row["p50_ms"], color=colour, linewidth=1, linestyle="--", label=label)
    axis.margins(y=0.15)
    axis.set(xlabel="latency P50, ms (logarithmic)", ylabel="AUC on test, 95 % interval")
    axis.set_title(title, fontsize=8.5)
    legend = figure.legend(loc="outside lower center", fontsize=7.5, frameon=False, title="fastest first",
                           title_fontsize=7.5, alignment="left")  # fmt: skip
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([30])
    save_figure(figure, path)


def _plain_ticks(axis: Any, low: float, high: float) -> None:
    """0.5, 1, 2, 5, 10: what a reader of milliseconds looks for; no powers of ten."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    steps = (1, 2, 5) if high / low < 100 else (1,)
    if high / low < 4:
        steps = (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [step * 10.0**power for power in range(-3, 6) for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axis.xaxis.set_minor_locator(NullLocator())


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
