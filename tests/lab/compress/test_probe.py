"""The share of multiply-accumulates for a latency, found on structures whose latency is known."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from edgedx.core.errors import UnsupportedModel  # noqa: E402
from edgedx.lab.compress.probe import Probe, share_for_latency  # noqa: E402


def machine(overhead_ms: float, whole_ms: float, floor: float = 0.0):
    """Latency grows with the share; below `floor` the backbone cannot be pruned."""

    def measure(share: float) -> Probe:
        if share < floor:
            raise UnsupportedModel(f"cannot prune to {share}")
        return Probe(share, overhead_ms + whole_ms * share)

    return measure


def test_an_unpruned_backbone_that_is_fast_enough_stays_whole() -> None:
    share, probes = share_for_latency(machine(0.1, 1.0), 5.0, least=0.1)
    assert share == 1.0
    assert len(probes) == 1


@pytest.mark.parametrize("budget", [0.4, 0.6, 0.9])
def test_bisection_comes_near_the_budget_from_below(budget: float) -> None:
    share, probes = share_for_latency(machine(0.1, 1.0), budget, least=0.1)
    assert share is not None
    assert 0.1 + share <= budget
    assert 0.1 + share >= 0.8 * budget
    assert len(probes) <= 6


def test_a_floor_of_pruning_turns_the_search_upwards() -> None:
    share, _ = share_for_latency(machine(0.1, 1.0, floor=0.3), 0.6, least=0.05)
    assert share is not None
    assert 0.3 <= share <= 0.5


def test_a_budget_below_the_overhead_is_not_met() -> None:
    share, probes = share_for_latency(machine(1.0, 1.0), 0.9, least=0.1)
    assert share is None
    assert min(one.latency_ms for one in probes) > 0.9
