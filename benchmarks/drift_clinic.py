"""Simulated clinics for `drift.py`: days of images drawn from real ones, and the very code that looks at them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from drift_images import Answered, Material

from edgedx.core.bundle.reference import Numbers, Reference
from edgedx.core.bundle.streams import judged, probability_stream
from edgedx.core.image_statistics import TWINS
from edgedx.core.stats.charts import levels
from edgedx.core.stats.drift import kolmogorov_p, quantile_grid, share_below
from edgedx.device.monitor.compare import LEVEL, Finding, compare
from edgedx.device.monitor.daily import plans
from edgedx.device.monitor.sample import ANSWERED, LEAST, Sample
from edgedx.device.monitor.usual import FIRST, Usual

A_DAY = 40
"""Images a day: a week is 280."""
WEEK = 7 * A_DAY


@dataclass(frozen=True)
class Drawn(Sample):
    """Some of a clinic's images: what `device.monitor.sample.Sample` says of rows of the database, said of arrays."""

    images: Any = ()
    columns: Any = None
    names: Any = None
    calibration: int = 0

    def __len__(self) -> int:
        return len(self.columns["unlike"])

    def numbers(self, stream: str) -> np.ndarray:
        values = self.columns["numbers"].get(stream, np.array([]))
        if not stream.startswith("probability:") or not self.columns["refuses"]:
            return values
        return values[~self.columns["unlike"]]

    @property
    def number_streams(self) -> list[str]:
        return sorted(self.columns["numbers"])

    @property
    def categories(self) -> dict[str, Counter[str]]:
        return {}

    @property
    def outcomes(self) -> Counter[str]:
        refused = int(self.columns["unlike"].sum()) if self.columns["refuses"] else 0
        return Counter({ANSWERED: len(self) - refused} | ({"OUT_OF_DISTRIBUTION": refused} if refused else {}))

    @property
    def called(self) -> Counter[str]:
        shown = self.columns["called"][~self.columns["unlike"]] if self.columns["refuses"] else self.columns["called"]
        return Counter({self.names[k]: int(count) for k, count in enumerate(np.bincount(shown)) if count})

    @property
    def unlike(self) -> tuple[int, int]:
        return int(self.columns["unlike"].sum()), len(self)

    @property
    def repeats(self) -> tuple[int, int]:
        same = int(self.columns["calibration"].sum())
        return (same if same > TWINS else 0), len(self)


class Clinic:
    """One clinic: a reference and first images of its own, drawn from the set as if it were the population."""

    def __init__(self, material: Material, seed: int) -> None:
        self.material, self.rng = material, np.random.default_rng(seed)
        manifest = material.bundle.manifest
        self.task = {"task": manifest.task, "classes": manifest.classes, "positive": manifest.positive}
        self.watched = judged(**self.task)
        self.refuses = manifest.accept.ood == "refuse"
        made = self.draw("stable", manifest.doubt.ood[manifest.default_variant].images)
        self.made_features, self.reference_columns = self.last_features, made.columns["numbers"]
        self.reference = self._reference(made)
        self.first = self.draw("stable", FIRST)
        self.first_features = self.last_features
        self.usual = self._usual(self.first)

    def draw(self, change: str, count: int) -> Drawn:
        """Images of a clinic with a change; ``stable`` has none."""
        material, rng = self.material, self.rng
        stable, calibration = material.answers["stable"], np.zeros(count, bool)
        weights = np.ones(len(material.labels))
        if change == "prevalence halved":
            weights = halved(material)
        if change == "one view missing":
            weights = material.keeps.astype(np.float64)
        rows = rng.choice(len(weights), count, p=weights / weights.sum())
        columns = self._take(stable, rows)
        if change == "calibration image repeated":
            calibration = rng.random(count) < 0.05
            same = material.answers["calibration image"]
            mixed = self._take(same, rng.integers(0, len(same.unlike), count))
            columns = _mixed(columns, mixed, calibration)
        elif change in material.answers and change != "stable":
            other = material.answers[change]
            if len(other.unlike) != len(weights):  # images of their own
                rows = rng.integers(0, len(other.unlike), count)
            columns = self._take(other, rows)
        self.last_features = columns.pop("features")
        columns |= {"calibration": calibration, "refuses": self.refuses}
        return Drawn(columns=columns, names=self.task["classes"])

    def _take(self, answered: Answered, rows: np.ndarray) -> dict[str, Any]:
        classes = self.task["classes"]
        numbers = {name: values[rows] for name, values in answered.numbers.items()}
        numbers |= {probability_stream(one): answered.probabilities[rows, classes.index(one)] for one in self.watched}
        return {"numbers": numbers, "called": answered.called[rows], "unlike": answered.unlike[rows],
                "features": answered.features[rows]}  # fmt: skip

    def _reference(self, made: Drawn) -> Reference:
        shares = np.bincount(made.columns["called"], minlength=len(self.task["classes"])) / len(made)
        built = {name: 1 / len(shares) for name in self.task["classes"]}
        grids = {name: _grid(made.numbers(name)) for name in made.number_streams}
        return Reference(images=len(made), numbers=grids, unlike=made.unlike[0] / len(made), repeats=0.0, built=built,
                         called=dict(zip(self.task["classes"], map(float, shares), strict=True)))  # fmt: skip

    def _usual(self, first: Drawn) -> Usual:
        return Usual(images=len(first), first=1, last=len(first), until=0, categories={}, outcomes=dict(first.outcomes),
                     called=dict(first.called), unlike=first.unlike, repeats=first.repeats,
                     numbers={name: _grid(first.numbers(name)) for name in first.number_streams})  # fmt: skip

    def findings(self, window: Drawn) -> list[Finding]:
        """What `edgedx monitor` finds in a window."""
        return [one for one in compare(window, self.reference, self.usual, resamples=0) if one.alarm]

    def may_alarm(self, year: Drawn) -> np.ndarray:
        """Windows of `WEEK` images, one a day, in which `findings` could be anything but empty; others need no look.

        Holm's smallest corrected p is the smallest p times the number of tests: where no D reaches the one that this
        asks for, and no more images are unlike than sampling brings, nothing is found.
        """
        kept = (self.reference.numbers, self.usual.numbers)
        tests = sum(len(numbers) for numbers in kept)
        unlike = _windows(year.columns["unlike"]).sum(axis=1)
        found = unlike >= self._most_unlike
        for numbers in kept:
            for stream, one in numbers.items():
                ordered = np.sort(_windows(year.columns["numbers"][stream]), axis=1)
                share = share_below(one.grid, ordered.ravel()).reshape(ordered.shape)
                before = share_below(one.grid, ordered.ravel(), inclusive=False).reshape(ordered.shape)
                steps = np.arange(WEEK + 1) / WEEK
                apart = np.maximum(np.abs(steps[1:] - share).max(axis=1), np.abs(steps[:-1] - before).max(axis=1))
                # Refused images have no probability: D without them differs by no more than their share, twice.
                found |= apart + 2 * unlike / WEEK >= critical(LEVEL / tests, WEEK, one.worth)
        return found

    @property
    def _most_unlike(self) -> float:
        """Unlike images of a window that chi-square cannot take for drift: five standard deviations less are fewer."""
        least = min(self.reference.unlike or 0.0, self.usual.unlike[0] / self.usual.unlike[1])
        return WEEK * least + 3

    def chart_alarms(self, days: list[dict[str, int]]) -> np.ndarray:
        """Whether any chart is beyond its limit, after each day."""
        several = plans(self.reference, self.usual, **self.task)
        paths = [np.array(levels(one.counted(days), one.start, up=one.up)) > one.limit for one in several]
        return np.any(paths, axis=0)


@cache
def critical(level: float, images: int, reference: int) -> float:
    """The D whose p-value is `level`."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if kolmogorov_p(middle, images, reference) > level else (low, middle)
    return low


def _windows(values: np.ndarray) -> np.ndarray:
    """The last `WEEK` values at the end of each day, shape (days, WEEK)."""
    return np.lib.stride_tricks.sliding_window_view(values, WEEK)[::A_DAY]


def window_of(parts: list[Drawn]) -> Drawn:
    """Days put together."""
    first = parts[0].columns
    columns: dict[str, Any] = {name: np.concatenate([one.columns[name] for one in parts])
                               for name in ("called", "unlike", "calibration")}  # fmt: skip
    columns["numbers"] = {name: np.concatenate([one.columns["numbers"][name] for one in parts])
                          for name in first["numbers"]}  # fmt: skip
    return Drawn(columns=columns | {"refuses": first["refuses"]}, names=parts[0].names)


def day_counts(day: Drawn) -> dict[str, int]:
    """As `device.monitor.store` counts a day."""
    counts = {f"called:{name}": count for name, count in day.called.items()}
    return counts | {"images": len(day), "answered": day.outcomes[ANSWERED], "asked": len(day),
                     "refused": len(day) - day.outcomes[ANSWERED], "unlike": day.unlike[0]}  # fmt: skip


def halved(material: Material) -> np.ndarray:
    """Weights of images with which the positive class, else the commonest one, is half as common as it was."""
    manifest = material.bundle.manifest
    counts = np.bincount(material.labels.astype(int))
    of = manifest.classes.index(manifest.positive) if manifest.positive else int(counts.argmax())
    share, inside = counts[of] / counts.sum(), material.labels == of
    return np.where(inside, 0.5, (1 - share / 2) / (1 - share))


def _mixed(one: dict[str, Any], other: dict[str, Any], chosen: np.ndarray) -> dict[str, Any]:
    mixed = {name: np.where(chosen, other[name], one[name]) for name in ("called", "unlike")}
    numbers = {name: np.where(chosen, other["numbers"][name], one["numbers"][name]) for name in one["numbers"]}
    return {**mixed, "numbers": numbers, "features": np.where(chosen[:, None], other["features"], one["features"])}


def _grid(values: np.ndarray) -> Numbers:
    return Numbers(grid=[float(f"{value:.6g}") for value in quantile_grid(values, 201)], worth=len(values))


__all__ = ["A_DAY", "LEAST", "WEEK", "Clinic", "Drawn", "day_counts", "window_of"]
