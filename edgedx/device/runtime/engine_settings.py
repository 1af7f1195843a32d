"""How an engine is to be built, and what its build found. Data and pure decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgedx.core.errors import UsageError

from .tensorrt_library import Abilities, Flavour

Precision = Literal["fp32", "fp16", "int8"]

MAX_BATCH = 8
EASY_LEVEL = 1
MIB = 1 << 20


@dataclass(frozen=True)
class BuildSettings:
    """How an engine is built; all of it goes to the child as JSON.

    Attributes
    ----------
    precision : str
        Of the graph; on TensorRT 8 it sets the builder's flags.
    max_batch : int
        The optimization profile goes from 1 to this, tuned for 1.
    workspace_bytes : int
        Scratch memory that a layer may ask for, at most.
    level : int, optional
        Builder optimization level, 0 to 5; TensorRT's own choice (3) when None.
    capabilities : tuple of str
        Compute capabilities to build for without a GPU, as ``8.6``; RTX alone. Empty: RTX' own choice.
    dla : int, optional
        Number of the deep learning accelerator; the GPU when None.
    timing_cache : str, optional
        File that keeps what the builder measured, so that the next build is quicker. Never for RTX, which would then
        want a GPU.
    memory_mb : int, optional
        Address space of the child, MiB. Not with a GPU: CUDA reserves far more than it uses.
    """

    flavour: Flavour
    precision: Precision
    max_batch: int = MAX_BATCH
    workspace_bytes: int = 256 * MIB
    level: int | None = None
    capabilities: tuple[str, ...] = ()
    dla: int | None = None
    timing_cache: str | None = None
    memory_mb: int | None = None


@dataclass(frozen=True)
class BuildReport:
    """What the child found.

    Attributes
    ----------
    library : str
        For people: ``TensorRT 10.3.0``.
    layers : int
        Of the network, before the builder fuses them.
    types : dict
        Type of a layer's first output to how many layers have it.
    weighted : dict
        Type in which a convolution or matrix product computes to how many do: INT8 where both inputs come out of
        dequantization.
    seconds : float
        From parsing to the finished engine.
    peak_mb : float
        Memory of the child at its peak, MiB.
    attempts : int
        2 where the first ran out of memory and an easier build was tried.
    warnings : tuple of str
        What TensorRT warned of, each kind once.
    """

    library: str
    layers: int
    types: dict[str, int]
    weighted: dict[str, int]
    seconds: float
    peak_mb: float
    attempts: int = 1
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Built:
    """An engine, as TensorRT serializes it, with the report."""

    plan: bytes
    report: BuildReport


def workspace_bytes(memory_gb: float | None, available_bytes: int | None = None) -> int:
    """Scratch memory to allow: an eighth of the device's memory, never more than a quarter of what is free now.

    Parameters
    ----------
    memory_gb : float, optional
        Of the profile, 2^30 bytes; 8 is assumed where it varies.
    available_bytes : int, optional
        MemAvailable of /proc/meminfo, where GPU and CPU share it.

    Returns
    -------
    int
        Between 64 MiB and 4 GiB.
    """
    wanted = int((memory_gb or 8.0) * (1 << 30)) // 8
    if available_bytes is not None:
        wanted = min(wanted, available_bytes // 4)
    return max(64 * MIB, min(wanted, 4096 * MIB))


def easier(settings: BuildSettings) -> BuildSettings:
    """The build to try when memory ran short: a quarter of the workspace, and a builder that compares less."""
    return replace(settings, workspace_bytes=max(32 * MIB, settings.workspace_bytes // 4), level=EASY_LEVEL)


def check_dla(precision: str, dla_cores: int, core: int, can: Abilities, device: str) -> None:
    """Refuse what the deep learning accelerator cannot do, before anything is built.

    Raises
    ------
    UsageError
        Says which limit, and what to do.
    """
    if not dla_cores:
        raise UsageError(f"{device} has no DLA", next_step="leave out --dla")
    if not 0 <= core < dla_cores:
        raise UsageError(f"{device} has DLA {', '.join(map(str, range(dla_cores)))}, not {core}")
    if not can.dla:
        raise UsageError(
            "this TensorRT no longer drives the DLA: 10.7 was the last that did",
            next_step="leave out --dla, or use JetPack 6",
        )
    if precision != "fp16":
        raise UsageError(
            f"the DLA takes the fp16 variant, not {precision}: it computes FP16 and INT8, and INT8 without Q/DQ nodes",
            next_step="--variant fp16 --dla N, or leave out --dla",
        )
