"""JetPack, the system of a Jetson: what each release ships, and whether edgedx runs on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Support = Literal["native", "container", "update", "unsupported"]


@dataclass(frozen=True)
class JetPack:
    """One JetPack major.minor.

    Attributes
    ----------
    since : tuple of int
        Its first release of L4T, as /etc/nv_tegra_release gives it.
    ubuntu, python, cuda, tensorrt : str
        Versions that it ships.
    glibc : (int, int)
        Version of the C library: decides which wheels load.
    """

    since: tuple[int, ...]
    ubuntu: str
    python: str
    glibc: tuple[int, int]
    cuda: str
    tensorrt: str


JETPACKS = {
    "7.2": JetPack((39, 0), "24.04", "3.12", (2, 39), "13.2", "10.16.2"),
    "7.1": JetPack((38, 3), "24.04", "3.12", (2, 39), "13.0", "10.13"),
    "7.0": JetPack((38, 0), "24.04", "3.12", (2, 39), "13.0", "10.13"),
    "6.2": JetPack((36, 4, 3), "22.04", "3.10", (2, 35), "12.6", "10.3"),
    "6.1": JetPack((36, 4), "22.04", "3.10", (2, 35), "12.6", "10.3"),
    "6.0": JetPack((36, 2), "22.04", "3.10", (2, 35), "12.2", "8.6"),
    "5.1": JetPack((35, 2), "20.04", "3.8", (2, 31), "11.4", "8.5"),
    "5.0": JetPack((34, 0), "20.04", "3.8", (2, 31), "11.4", "8.4"),
    "4.6": JetPack((32, 6), "18.04", "3.6", (2, 27), "10.2", "8.2"),
    "4.2": JetPack((32, 1), "18.04", "3.6", (2, 27), "10.0", "5.0"),
}
"""Every JetPack major.minor that can be told by its L4T release, newest first (NVIDIA's JetPack archive)."""


def jetpack_of(l4t: str) -> str | None:
    """JetPack major.minor that a release of L4T, such as ``36.4.3``, belongs to.

    A release newer than those known is taken for the newest JetPack known.
    """
    numbers = tuple(int(part) for part in l4t.split("."))
    return next((name for name, jetpack in JETPACKS.items() if numbers >= jetpack.since), None)


def jetpack_support(jetpack: str) -> Support:
    """How edgedx runs on a JetPack: as it is, in a container with a newer Python, after an update, or not.

    JetPack 5 has Python 3.8 and edgedx needs 3.10; JetPack 6.0 has TensorRT 8.6, and its update to 6.1 is a
    package upgrade; JetPack 4 has Python 3.6 and TensorRT 8.2.
    """
    version = tuple(int(part) for part in jetpack.split("."))
    if version < (5,):
        return "unsupported"
    if version < (6,):
        return "container"
    return "update" if version < (6, 1) else "native"
