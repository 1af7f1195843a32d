"""What a compressed model may lose and take, and which of the candidates to keep. Pure decisions, no files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgedx.core.errors import UsageError

_LATENCY = re.compile(r"^\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|us|s)?\s*$")
_TO_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, None: 1.0}


def parse_latency(text: str) -> float:
    """Milliseconds of ``5ms``, ``0.005s``, ``800us`` or ``5``.

    Raises
    ------
    UsageError
        Not a positive time.
    """
    found = _LATENCY.match(text)
    value = float(found[1]) * _TO_MS[found[2]] if found else 0.0
    if value <= 0:
        raise UsageError(f"--max-latency {text}: not a time", next_step="for example --max-latency 5ms")
    return value


@dataclass(frozen=True)
class Budget:
    """What must hold.

    Attributes
    ----------
    max_auc_drop : float
        Against the teacher, judged by the gate's rule on the recipe's split.
    max_latency_ms : float or None
        P50 of one image on one thread of this machine; None where the least latency is looked for.
    max_macs : float or None
        Share of the teacher's multiply-accumulates.
    """

    max_auc_drop: float
    max_latency_ms: float | None = None
    max_macs: float | None = None

    def sentence(self) -> str:
        """In words."""
        parts = [f"at most {self.max_auc_drop:g} AUC below the teacher"]
        if self.max_latency_ms is not None:
            parts.append(f"at most {self.max_latency_ms:g} ms an image")
        if self.max_macs is not None:
            parts.append(f"at most {self.max_macs:.0%} of the teacher's multiply-accumulates")
        return ", ".join(parts)


@dataclass(frozen=True)
class Candidate:
    """A trained, quantized and measured student: one variant of it.

    Attributes
    ----------
    name : str
        Of its folder below ``candidates``.
    macs : float
        Share of the teacher's.
    latency_ms : float
        P50 of one image on one thread of this machine, by the runner that ships.
    auc_drop : float
        Teacher's AUC less its own, on the gate's split.
    accurate : bool
        Whether the gate passed.
    sentence : str
        The gate's.
    """

    name: str
    backbone: str
    variant: str
    macs: float
    megabytes: float
    latency_ms: float
    auc: float
    auc_drop: float
    accurate: bool
    sentence: str

    def over(self, budget: Budget) -> dict[str, float]:
        """By how much it misses each part of the budget: AUC, milliseconds, share of MACs; empty where it fits.

        An ``auc`` of 0 means that the figure is within the budget, but not proven (see docs/gate.md).
        """
        missed: dict[str, float] = {}
        if not self.accurate:
            missed["auc"] = max(0.0, self.auc_drop - budget.max_auc_drop)
        if budget.max_latency_ms is not None and self.latency_ms > budget.max_latency_ms:
            missed["ms"] = self.latency_ms - budget.max_latency_ms
        if budget.max_macs is not None and self.macs > budget.max_macs:
            missed["macs"] = self.macs - budget.max_macs
        return missed


def choose(candidates: Sequence[Candidate], budget: Budget) -> Candidate | None:
    """The fastest that fits; of equally fast ones (5 %) the more accurate."""
    fitting = [one for one in candidates if not one.over(budget)]
    if not fitting:
        return None
    least = min(one.latency_ms for one in fitting)
    return min((one for one in fitting if one.latency_ms <= 1.05 * least), key=lambda one: one.auc_drop)


def nearest(candidates: Sequence[Candidate], budget: Budget) -> Candidate:
    """The one that misses by least, each miss as a share of its limit (AUC: of one hundredth)."""

    def distance(one: Candidate) -> tuple[float, float]:
        missed = one.over(budget)
        parts = [
            missed.get("auc", 0.0) / 0.01,
            missed.get("ms", 0.0) / (budget.max_latency_ms or 1.0),
            missed.get("macs", 0.0) / (budget.max_macs or 1.0),
        ]
        return sum(parts), one.auc_drop

    return min(candidates, key=distance)


def next_share(tried: Sequence[tuple[float, bool]], start: float, least: float, most: float = 1.0) -> float | None:
    """The share of multiply-accumulates to try next, when the smallest that is accurate enough is looked for.

    Halves (or doubles) from `start` until one is accurate and one is not, then takes the geometric mean between.

    Parameters
    ----------
    tried : sequence of (float, bool)
        Share, and whether it was accurate.
    least, most : float
        Bounds.

    Returns
    -------
    float or None
        None where the two ends are within a fifth of each other, or a bound was reached.
    """
    if not tried:
        return min(max(start, least), most)
    good = min((share for share, accurate in tried if accurate), default=None)
    bad = max((share for share, accurate in tried if not accurate and (good is None or share < good)), default=None)
    if good is None:
        top = max(share for share, _ in tried)
        return min(2 * top, most) if top < most else None
    if bad is None:
        return max(good / 2, least) if good > least else None
    return (good * bad) ** 0.5 if good / bad > 1.2 else None


def explain(chosen: Candidate, candidates: Sequence[Candidate], budget: Budget, teacher: dict[str, Any]) -> list[str]:
    """Three lines: what was chosen, why not another, what it costs and wins.

    Parameters
    ----------
    teacher : dict
        ``latency_ms`` and ``megabytes`` of the teacher, measured in the same run.
    """
    accurate = sum(one.accurate for one in candidates)
    others = [one for one in candidates if one is not chosen]
    if not others:
        why = "the only one that was tried"
    else:
        fit = [one for one in others if not one.over(budget)]
        why = f"the fastest that fits; of {len(candidates)} tried, {accurate} are accurate enough"
        why += f", {len(fit) + 1} of these within the whole budget"
        faster = [one for one in others if one.latency_ms < chosen.latency_ms and one.over(budget)]
        if faster:
            one = min(faster, key=lambda item: item.auc_drop)
            why += f"; {one.name} {one.variant} is faster ({one.latency_ms:.2f} ms) and loses {one.auc_drop:.4f} AUC"
    times = teacher["latency_ms"] / chosen.latency_ms
    return [
        f"{chosen.name} as {chosen.variant}: {chosen.macs:.0%} of the multiply-accumulates, {chosen.sentence}",
        why,
        f"{chosen.latency_ms:.2f} ms and {chosen.megabytes:.2f} MB against the teacher's "
        f"{teacher['latency_ms']:.2f} ms and {teacher['megabytes']:.2f} MB: {times:.1f} times faster",
    ]


def shortfall(one: Candidate, budget: Budget) -> str:
    """By how much the nearest candidate misses, in words."""
    missed = one.over(budget)
    parts = []
    if "auc" in missed:
        parts.append(f"{missed['auc']:.4f} AUC" if missed["auc"] > 0 else "proof of its AUC (too few images)")
    if "ms" in missed:
        parts.append(f"{missed['ms']:.2f} ms")
    if "macs" in missed:
        parts.append(f"{missed['macs']:.0%} of the multiply-accumulates")
    return f"{one.name} as {one.variant} comes nearest and misses by {' and '.join(parts)}"
