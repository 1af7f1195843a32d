"""Latency: measured on a clock that the tests wind themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from edgedx.core.errors import UsageError
from edgedx.core.timing import LatencyRecord, interleave, measure

MS = 1_000_000


class Bench:
    """A clock that only work moves on, and a log of who worked."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []

    def clock(self) -> int:
        return self.now

    def work(self, name: str, milliseconds: Iterable[float]) -> Callable[[], None]:
        times = iter(milliseconds)

        def function() -> None:
            self.calls.append(name)
            self.now += int(next(times) * MS)

        return function


def forever(value: float) -> Iterable[float]:
    while True:
        yield value


def run(bench: Bench, times: Iterable[float], **options: Any) -> LatencyRecord:
    options = {"name": "model", "warmup": 0, "repeats": 1, "min_seconds": 0, "machine": "test", **options}
    return measure(bench.work("f", times), clock=bench.clock, **options)


def test_percentiles_mean_and_spread_are_those_of_the_calls() -> None:
    times = [float(value) for value in range(1, 101)]
    record = run(Bench(), times, repeats=100)
    assert record.repeats == 100
    assert (record.p50_ms, record.p90_ms, record.p99_ms) == pytest.approx(tuple(np.percentile(times, [50, 90, 99])))
    assert (record.mean_ms, record.min_ms) == pytest.approx((50.5, 1.0))
    assert record.std_ms == pytest.approx(np.std(times, ddof=1))


def test_throughput_counts_images_not_calls() -> None:
    assert run(Bench(), forever(20.0), batch=8, repeats=5).images_per_s == pytest.approx(400.0)


def test_slow_first_calls_do_not_count() -> None:
    record = run(Bench(), [500.0, 300.0, *[10.0] * 20], warmup=2, repeats=20)
    assert record.warmup == 2
    assert record.mean_ms == pytest.approx(10.0)


def test_it_goes_on_until_both_count_and_time_are_reached() -> None:
    assert run(Bench(), forever(10.0), repeats=5, min_seconds=1.0).repeats == 100
    assert run(Bench(), forever(10.0), repeats=300, min_seconds=1.0).repeats == 300


def test_a_slow_function_is_stopped_at_the_limit_but_counts_once() -> None:
    bench = Bench()
    record = run(bench, forever(4000.0), warmup=10, repeats=50, max_seconds=10.0)
    assert record.warmup == 3
    assert record.repeats == 1
    assert record.std_ms == 0.0
    assert len(bench.calls) == 4


def test_a_call_below_the_clocks_resolution_has_a_finite_throughput() -> None:
    assert run(Bench(), forever(0.0)).images_per_s == pytest.approx(1e9)


def test_the_real_clock_measures_real_work() -> None:
    record = measure(lambda: sum(range(20_000)), warmup=1, repeats=5, min_seconds=0)
    assert 0 < record.min_ms <= record.p50_ms <= record.p90_ms <= record.p99_ms
    assert "logical cores" in record.machine


def test_functions_take_turns_in_blocks_and_the_order_is_reversed_each_round() -> None:
    bench = Bench()
    functions = {name: bench.work(name, forever(1.0)) for name in "ab"}
    interleave(functions, warmup=1, repeats=4, block=2, rewarm=1, min_seconds=0, clock=bench.clock)
    assert "".join(bench.calls) == "ab" + "aaa" + "bbb" + "bbb" + "aaa"


def test_all_functions_are_called_equally_often_and_rewarming_does_not_count() -> None:
    bench = Bench()
    first = bench.work("a", forever(1.0))
    # The call after each change of turn finds cold caches: 50 ms that must not show.
    cold_then_warm = (value for _ in iter(int, 1) for value in (50.0, 2.0, 2.0, 2.0, 2.0, 2.0))
    records = interleave(
        {"a": first, "b": bench.work("b", cold_then_warm)}, warmup=0, repeats=20, min_seconds=0, clock=bench.clock
    )
    assert list(records) == ["a", "b"]
    assert records["a"].repeats == records["b"].repeats == 20
    assert records["b"].mean_ms == pytest.approx(2.0)


def test_the_ratio_holds_while_the_machine_slows_down() -> None:
    bench = Bench()

    def drifting(factor: float) -> Callable[[], None]:
        def function() -> None:
            bench.now += int(factor * (1.0 + bench.now / (500 * MS)) * MS)

        return function

    options: dict[str, Any] = {"warmup": 0, "repeats": 60, "min_seconds": 0, "clock": bench.clock}
    records = interleave({"small": drifting(1.0), "large": drifting(3.0)}, **options)
    assert records["large"].mean_ms / records["small"].mean_ms == pytest.approx(3.0, rel=0.03)

    bench.now = 0
    apart = [measure(drifting(factor), **options) for factor in (1.0, 3.0)]
    assert apart[1].mean_ms / apart[0].mean_ms > 3.2, "one after the other, the drift would show"


@pytest.mark.parametrize(
    "options",
    [
        {"repeats": 0},
        {"warmup": -1},
        {"batch": 0},
        {"threads": -1},
        {"min_seconds": 2.0, "max_seconds": 1.0},
        {"min_seconds": -1.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        run(Bench(), forever(1.0), **options)
    assert caught.value.next_step


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to time"):
        interleave({})


def test_a_record_survives_json() -> None:
    record = run(Bench(), forever(1.0), repeats=3, provider="CPUExecutionProvider", threads=2)
    assert LatencyRecord.model_validate_json(record.model_dump_json()) == record
