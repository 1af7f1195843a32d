"""Border and regions as JSON, table cells and plain words: whether maps point at the finding or lie at the rim."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedx.core.stats.metrics import Interval

from .methods import METHODS
from .pointing import BORDER, border_ring, tolerance_pixels

if TYPE_CHECKING:
    from .explain import Explanation, Key

CELLS = ("border", "pointing", "energy")
"""Columns of ``explain.csv``."""
GAMES = {"pointing": "pointing game", "energy": "energy-based pointing game"}


def border_area(explanation: Explanation) -> float:
    """Share of the area that the border ring takes: what an even map has there."""
    return float(border_ring(explanation.images.canvases.shape[1:3]).mean())


def border_share(explanation: Explanation, key: Key) -> Interval | None:
    """Mean share of a map's weight on the border; None where no map could tell."""
    shares = explanation.border.get(key)
    return None if shares is None or np.isnan(shares).all() else explanation.means({"border": shares})["border"]


def game(explanation: Explanation, key: Key, name: str) -> dict[str, Interval] | None:
    """One game's means: ``value``, ``area``, ``other`` and the paired ``above_area``, ``above_other``."""
    figures = explanation.pointing.get(key)
    if figures is None or np.isnan(figures[name]).all():
        return None
    keys = {"value": name, **{part: f"{name}_{part}" for part in ("area", "other", "above_area", "above_other")}}
    return explanation.means({part: figures[key] for part, key in keys.items() if not np.isnan(figures[key]).all()})


def border_to_dict(explanation: Explanation) -> dict[str, Any]:
    """``border`` of ``explain.json``."""
    rows = [
        {"model": key[0], "method": key[1], "share": share.to_dict()}
        for key in explanation.maps
        if (share := border_share(explanation, key)) is not None
    ]
    return {"each_side": BORDER, "area": round(border_area(explanation), 4), "maps": rows}


def regions_to_dict(explanation: Explanation) -> dict[str, Any] | None:
    """``regions`` of ``explain.json``; None where none are known."""
    if (regions := explanation.regions) is None:
        return None
    rows = []
    for key in explanation.pointing:
        games = {name: game(explanation, key, name) for name in GAMES}
        told = {
            name: None if one is None else {part: value.to_dict() for part, value in one.items()}
            for name, one in games.items()
        }
        rows.append({"model": key[0], "method": key[1], **told})
    return {
        "where": regions.where,
        "images": int(regions.known.sum()),
        "skipped": dict(Counter(regions.skipped).most_common()),
        "area": round(float(regions.masks[regions.known].mean()), 4),
        "tolerance_pixels": tolerance_pixels(regions.masks.shape[1:]),
        "maps": rows,
    }


def cells(explanation: Explanation, key: Key, position: int) -> list[float]:
    """Of one image, in the order of `CELLS`; NaN where nothing is known."""
    border, games = explanation.border.get(key), explanation.pointing.get(key, {})
    at_border = np.nan if border is None else border[position]
    return [at_border, *(games[name][position] if name in games else np.nan for name in GAMES)]


def _named(key: Key) -> str:
    return f"{METHODS[key[1]].title} of {key[0]}"


def border_sentences(explanation: Explanation) -> list[str]:
    """Where more weight lies on the border than an even map has there."""
    area = border_area(explanation)
    shares = {key: border_share(explanation, key) for key in explanation.maps}
    more = [f"{_named(key)} ({one})" for key, one in shares.items() if one is not None and one.low > area]
    if not more:
        return []
    return [
        f"More weight lies on the border ({BORDER:.0%} of each side, {area:.0%} of the area) than an even map has "
        f"there: {', '.join(more)}. Look for letters, collimation and the style of a source"
    ]


def region_sentences(explanation: Explanation) -> list[str]:
    """Which maps point at the finding more than chance does, and more than the map of another image."""
    outcomes: dict[str, list[str]] = {}
    for key in explanation.pointing:
        if (one := game(explanation, key, "energy")) is None:
            continue
        by_area, by_other = one["above_area"].low > 0, one["above_other"].low > 0 if "above_other" in one else None
        outcome = "both" if by_area and by_other else "area" if by_area else "none"
        outcomes.setdefault(outcome, []).append(f"{_named(key)} ({one['value']}, by chance {one['area'].value:.2f})")
    words = {
        "both": "More weight lies in the regions than chance gives, and than maps of other images have there",
        "area": "More weight lies in the regions than chance gives, but no more than maps of other images have there: "
        "that these maps follow the finding is not shown",
        "none": "No more weight lies in the regions than chance gives",
    }
    return [f"{words[outcome]}: {', '.join(outcomes[outcome])}" for outcome in words if outcome in outcomes]


def region_notes(explanation: Explanation) -> list[str]:
    """How many images have a region, and why the others have none."""
    if (regions := explanation.regions) is None:
        return []
    known = int(regions.known.sum())
    skipped = "; ".join(f"{count} {reason}" for reason, count in Counter(regions.skipped).most_common())
    text = f"{known} of {len(explanation.images)} images have a region ({regions.where}"
    text += f", {regions.masks[regions.known].mean():.0%} of their area in the mean)"
    return [f"{text}; without: {skipped}" if skipped else text]
