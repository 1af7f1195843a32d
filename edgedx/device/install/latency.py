"""How long one image takes an installed bundle's model here (``python -m edgedx.device.install.latency BUNDLE``)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edgedx.core.timing import LatencyRecord, measure
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.runtime.open_runner import open_runner

from .active import open_any
from .health import serving_variant


def installed_latency(
    path: Path, *, variant: str | None = None, threads: int = 0, seconds: float = 1.0
) -> LatencyRecord:
    """Time inference of one blank image, decoding and preprocessing not counted.

    Parameters
    ----------
    path : Path
        A ``.edgedx`` file, or an installed version such as ``ROOT/current``.
    variant : str, optional
        The one that was proven at installation unless given, else the bundle's default.
    threads : int
        CPU threads; 0 lets the runtime choose.
    seconds : float
        At least this long is measured; ten times as long at most.
    """
    bundle = open_any(path)
    variant = variant or serving_variant(bundle)
    name = variant or serving_variant(bundle) or bundle.manifest.default_variant
    image = np.zeros((1, *bundle.manifest.preprocess.input_shape), np.float32)
    with open_runner(bundle, variant=name, threads=threads) as runner:
        return measure(
            lambda: runner.infer(image),
            name=name,
            min_seconds=seconds,
            max_seconds=10 * seconds,
            threads=threads,
            provider=runner.provider,
            machine=read_hardware().label(),
        )


if __name__ == "__main__":
    print(installed_latency(Path(sys.argv[1])).model_dump_json())
