"""Measuring latency: warm-up, repeats, percentiles, and the one record that every latency is told in."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from .errors import UsageError

Clock = Callable[[], int]
"""Monotonic time in nanoseconds."""


class LatencyRecord(BaseModel):
    """Latency of one thing on one machine. Times are milliseconds of one call, whatever its batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="What was measured.")
    batch: int = Field(ge=1, description="Images in one call.")
    threads: int = Field(ge=0, description="CPU threads of one call; 0: the runtime chose.")
    warmup: int = Field(ge=0, description="Calls before the first that counts.")
    repeats: int = Field(ge=1, description="Calls that count.")
    p50_ms: float = Field(description="Median.")
    p90_ms: float = Field(description="90th percentile.")
    p99_ms: float = Field(description="99th percentile; below 100 repeats it leans on the slowest call alone.")
    mean_ms: float = Field(description="Mean.")
    std_ms: float = Field(description="Standard deviation of the calls, not of the mean.")
    min_ms: float = Field(description="Fastest call.")
    images_per_s: float = Field(description="Throughput of one caller: batch over mean.")
    provider: str = Field(description="What really ran, e.g. CPUExecutionProvider; empty where it does not apply.")
    machine: str = Field(description="What it ran on.")


def measure(
    function: Callable[[], Any],
    *,
    name: str = "",
    warmup: int = 10,
    repeats: int = 50,
    min_seconds: float = 1.0,
    max_seconds: float = 30.0,
    batch: int = 1,
    threads: int = 0,
    provider: str = "",
    machine: str | None = None,
    clock: Clock = time.perf_counter_ns,
) -> LatencyRecord:
    """Time a function, call by call.

    Parameters
    ----------
    function : callable without arguments
        Returns when its work is done: a function that only queues work on a GPU must synchronise.
    name : str
        For the record.
    warmup : int
        Calls that do not count; the first calls load code, grow memory and raise clocks.
    repeats : int
        Calls that count, at least.
    min_seconds, max_seconds : float
        Seconds to go on for at least, and to stop after even when `repeats` are not reached. The limit is looked
        at between calls, warm-up included; one call always counts.
    batch : int
        Images in one call.
    threads : int
        For the record.
    provider, machine : str
        For the record; the machine is described from what Python knows unless given.
    clock : callable
        Monotonic nanoseconds; given by tests.

    Raises
    ------
    UsageError
        A count or limit makes no sense.
    """
    return interleave(
        {name: function},
        warmup=warmup,
        repeats=repeats,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        block=1,
        rewarm=0,
        batch=batch,
        threads=threads,
        provider=provider,
        machine=machine,
        clock=clock,
    )[name]


def interleave(
    functions: Mapping[str, Callable[[], Any]],
    *,
    warmup: int = 10,
    repeats: int = 50,
    min_seconds: float = 1.0,
    max_seconds: float = 60.0,
    block: int = 5,
    rewarm: int = 1,
    batch: int = 1,
    threads: int = 0,
    provider: str = "",
    machine: str | None = None,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, LatencyRecord]:
    """Time several functions by turns, so that their ratios hold while the machine's speed drifts.

    Each round runs every function for `block` calls in a row, in an order that is reversed from round to round,
    so that a steady drift falls on all alike. All have the same number of calls.

    Parameters
    ----------
    functions : mapping of name to callable
        See `measure`.
    block : int
        Calls in a row that count, of one function, before the next has its turn.
    rewarm : int
        Calls before each block that do not count: the caches still hold the other functions' data.
    min_seconds, max_seconds : float
        Seconds for all functions together; looked at between rounds, one round always counts.
    warmup, repeats, batch, threads, provider, machine, clock
        As in `measure`; `repeats` is rounded up to whole blocks.

    Returns
    -------
    dict of name to LatencyRecord
        In the order of `functions`.

    Raises
    ------
    UsageError
        A count or limit makes no sense, or there is nothing to time.
    """
    _check(functions, warmup=warmup, repeats=repeats, block=block, rewarm=rewarm, batch=batch, threads=threads)
    if not 0 <= min_seconds <= max_seconds:
        raise UsageError(
            f"timing: min_seconds {min_seconds} and max_seconds {max_seconds} do not fit",
            next_step="give 0 <= min_seconds <= max_seconds",
        )
    begin = clock()
    warmed = 0
    while warmed < warmup and clock() - begin < max_seconds * 1e9:
        for function in functions.values():
            function()
        warmed += 1
    samples: dict[str, list[int]] = {key: [] for key in functions}
    order = list(functions)
    started = clock()
    while True:
        for key in order:
            samples[key] += _block(functions[key], rewarm, block, clock)
        order.reverse()
        now, count = clock(), len(samples[order[0]])
        if now - begin >= max_seconds * 1e9 or (count >= repeats and now - started >= min_seconds * 1e9):
            break
    where = machine_text() if machine is None else machine
    return {
        key: _record(values, name=key, batch=batch, threads=threads, warmup=warmed, provider=provider, machine=where)
        for key, values in samples.items()
    }


def machine_text() -> str:
    """This machine in a few words, without its name in the network."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} logical cores"


def _block(function: Callable[[], Any], rewarm: int, count: int, clock: Clock) -> list[int]:
    for _ in range(rewarm):
        function()
    nanoseconds = []
    for _ in range(count):
        begin = clock()
        function()
        nanoseconds.append(clock() - begin)
    return nanoseconds


def _record(
    nanoseconds: Sequence[int], *, name: str, batch: int, threads: int, warmup: int, provider: str, machine: str
) -> LatencyRecord:
    ms = np.asarray(nanoseconds, np.float64) / 1e6
    p50, p90, p99 = (float(value) for value in np.percentile(ms, [50, 90, 99]))
    mean = float(ms.mean())
    return LatencyRecord(
        name=name,
        batch=batch,
        threads=threads,
        warmup=warmup,
        repeats=len(ms),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        mean_ms=mean,
        std_ms=float(ms.std(ddof=1)) if len(ms) > 1 else 0.0,
        min_ms=float(ms.min()),
        # A clock too coarse to see the call would divide by zero; one nanosecond is its best resolution.
        images_per_s=batch * 1000.0 / max(mean, 1e-6),
        provider=provider,
        machine=machine,
    )


def _check(functions: Mapping[str, Any], **counts: int) -> None:
    if not functions:
        raise UsageError("timing: nothing to time", next_step="give at least one function")
    least = {"warmup": 0, "rewarm": 0, "threads": 0}
    for name, value in counts.items():
        if value < least.get(name, 1):
            raise UsageError(f"timing: {name} is {value}", next_step=f"give {least.get(name, 1)} or more")
