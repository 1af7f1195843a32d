"""ONNX Runtime on the CPU takes no more threads than it was told."""

from __future__ import annotations

import psutil
import pytest
from bundles import model

from edgedx.device.runtime.run_onnx import OnnxRunner


def _started(threads: int) -> int:
    """Threads that a session starts beside the caller's."""
    before = psutil.Process().num_threads()
    with OnnxRunner(model(), threads=threads):
        return psutil.Process().num_threads() - before


def test_as_many_threads_as_the_environment_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    _started(threads=1)  # the first session of a process starts what all share
    for told, expected in (("1", 0), ("3", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert _started(threads=0) == expected
    assert _started(threads=2) == 1  # a number that is given counts more
    monkeypatch.setenv("OMP_NUM_THREADS", "2,3")  # a list by nesting level, as OpenMP has it, is left to the runtime
    _started(threads=0)
