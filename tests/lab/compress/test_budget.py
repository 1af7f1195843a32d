"""What a search keeps, what it tries next, and what it says: decisions on figures, no training."""

from __future__ import annotations

import math

import pytest

from edgedx.core.errors import UsageError
from edgedx.lab.compress.budget import (
    Budget,
    Candidate,
    choose,
    explain,
    nearest,
    next_share,
    parse_latency,
    shortfall,
)


def candidate(
    name: str, latency_ms: float, auc_drop: float, accurate: bool, *, macs: float = 0.5, variant: str = "fp32"
) -> Candidate:
    return Candidate(
        name=name,
        backbone="resnet18",
        variant=variant,
        macs=macs,
        megabytes=1.0,
        latency_ms=latency_ms,
        auc=0.95 - auc_drop,
        auc_drop=auc_drop,
        accurate=accurate,
        sentence=f"loses {auc_drop:.3f}",
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("5ms", 5.0), ("0.005s", 5.0), ("800us", 0.8), ("5", 5.0), (" 2 ms ", 2.0)]
)
def test_latency_is_read_with_its_unit(text: str, expected: float) -> None:
    assert parse_latency(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "fast", "-1ms", "0ms", "5 minutes", "nan"])
def test_what_is_no_latency_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_latency(text)


def test_the_fastest_that_fits_is_chosen_and_of_equally_fast_ones_the_more_accurate() -> None:
    budget = Budget(0.01, max_latency_ms=2.0)
    slow, fast = candidate("slow", 1.9, 0.0, True), candidate("fast", 1.0, 0.008, True)
    as_fast = candidate("as-fast", 1.04, 0.002, True)
    wrong, late = candidate("wrong", 0.5, 0.03, False), candidate("late", 2.1, -0.01, True)
    assert choose([slow, fast, wrong, late], budget) is fast
    assert choose([slow, fast, as_fast, wrong, late], budget) is as_fast
    assert choose([wrong, late], budget) is None


def test_the_nearest_is_named_with_what_it_misses() -> None:
    budget = Budget(0.01, max_latency_ms=2.0, max_macs=0.4)
    wrong = candidate("wrong", 0.5, 0.03, False, macs=0.3)
    late = candidate("late", 2.2, 0.0, True, macs=0.3)
    assert nearest([wrong, late], budget) is late
    assert shortfall(late, budget) == "late as fp32 comes nearest and misses by 0.20 ms"
    assert "0.0200 AUC" in shortfall(wrong, budget)
    both = candidate("both", 2.5, 0.03, False, macs=0.5)
    assert set(both.over(budget)) == {"auc", "ms", "macs"}


def test_a_loss_within_the_budget_that_is_not_proven_still_misses() -> None:
    unproven = candidate("unproven", 1.0, 0.004, False)
    assert unproven.over(Budget(0.01)) == {"auc": 0.0}
    assert "proof of its AUC" in shortfall(unproven, Budget(0.01))


def test_a_loss_that_is_not_a_number_never_fits() -> None:
    broken = candidate("broken", 1.0, math.nan, False)
    assert choose([broken], Budget(0.01)) is None


def test_bisection_of_shares_brackets_and_stops() -> None:
    def walk(least_accurate: float, start: float = 0.35) -> list[float]:
        tried: list[tuple[float, bool]] = []
        while (share := next_share(tried, start, least=0.1)) is not None:
            assert len(tried) < 10
            tried.append((share, share >= least_accurate))
        return [share for share, _ in tried]

    found = walk(0.25)
    assert found[:2] == [0.35, 0.175]
    good = min(share for share in found if share >= 0.25)
    bad = max(share for share in found if share < 0.25)
    assert good / bad <= 1.2
    assert min(walk(0.0)) == 0.1  # never below the floor
    assert walk(2.0)[-1] == 1.0  # nothing is accurate: up to the whole model, and no further


def test_three_lines_say_what_why_and_what_it_wins() -> None:
    budget = Budget(0.01)
    fast, chosen = candidate("fast", 0.5, 0.02, False), candidate("chosen", 1.0, 0.004, True)
    lines = explain(chosen, [fast, chosen], budget, {"latency_ms": 4.0, "megabytes": 13.0})
    assert len(lines) == 3
    assert lines[0].startswith("chosen as fp32: 50%")
    assert "fast fp32 is faster (0.50 ms) and loses 0.0200 AUC" in lines[1]
    assert "4.0 times faster" in lines[2]
