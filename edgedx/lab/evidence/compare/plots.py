"""The picture of a comparison: paired differences with their intervals, one row for each pair."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgedx.lab.run.plots import COLOURS, INK, new_figure

from .words import LEVEL

if TYPE_CHECKING:
    from .pairs import ModelComparison

_MOST = 30
"""Pairs drawn; of more, those with the greatest difference in AUC."""


def comparison_figure(comparison: ModelComparison) -> Any:
    """Differences in AUC and in accuracy; a filled mark is a difference that a test shows after correction."""
    pairs = list(comparison.pairs)
    if len(pairs) > _MOST:
        pairs = sorted(pairs, key=lambda pair: -abs(pair.auc.value) if not math.isnan(pair.auc.value) else 0)[:_MOST]
    figure, axes = new_figure(9, 1.5 + 0.3 * len(pairs), 2)
    heights = range(len(pairs), 0, -1)
    for axis, of, title in ((axes[0], "ranking", "AUC"), (axes[1], "decisions", "accuracy")):
        axis.axvline(0, color=INK, linewidth=0.9)
        for height, pair in zip(heights, pairs, strict=True):
            gap = pair.gap(of)
            shown = any(one.p_holm < LEVEL for one in pair.best(of))
            colour = COLOURS[0] if shown else "#8796a3"
            if not math.isnan(gap.low):
                axis.plot([gap.low, gap.high], [height, height], color=colour, linewidth=1.6, solid_capstyle="butt")
            axis.scatter(gap.value, height, s=34, facecolor=colour if shown else "white", edgecolor=colour, zorder=3)
        axis.set(ylim=(0.4, len(pairs) + 0.6))
        axis.set_xlabel(f"difference in {title}, 95 % interval", fontsize=8.5, color=INK)
        axis.margins(x=0.08)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(list(heights), [f"{pair.second}\nless {pair.first}" for pair in pairs], fontsize=7)
    axes[1].set_yticks(list(heights), [""] * len(pairs))
    left_out = f"; {_MOST} of {len(comparison.pairs)} pairs" if len(comparison.pairs) > _MOST else ""
    figure.suptitle(
        f"{len(comparison.lineup.cases)} images ({comparison.lineup.where}); filled: p < {LEVEL} by Holm's "
        f"correction{left_out}",
        fontsize=8.5, color=INK,
    )  # fmt: skip
    return figure
