"""Which wheels a device takes: its Python, its instruction set and its C library, as tags. No input or output."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgedx.core.errors import ProfileError, UsageError
from edgedx.core.settings.jetpack import JETPACKS, jetpack_support
from edgedx.core.settings.profile import DeviceProfile

PYTHONS = {"3.10": (2, 35), "3.11": (2, 36), "3.12": (2, 39), "3.13": (2, 41), "3.14": (2, 41)}
"""Python to the glibc of the system that ships it: Ubuntu 22.04, Debian 12 (and Raspberry Pi OS 12), Ubuntu 24.04,
Debian 13 (and Raspberry Pi OS 13). 3.14 is no distribution's own yet; the newest of them is taken."""

_PI_PYTHON = "3.11"  # Raspberry Pi OS 12, the one in the field; 13 has 3.13
_PC_PYTHON = "3.11"
_CONTAINER = ("3.10", (2, 31))  # JetPack 5 is Ubuntu 20.04; a container on it may bring a newer Python, not less glibc
_LEAST_GLIBC = {"x86_64": 5, "aarch64": 17}  # PEP 600: the first manylinux of each
_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


@dataclass(frozen=True)
class WheelTarget:
    """What decides which wheels fit.

    Attributes
    ----------
    python : str
        Major.minor of CPython.
    arch : str
        ``x86_64`` or ``aarch64``.
    glibc : (int, int)
        Version of the device's C library; a wheel for a newer one does not load there.
    system : str
        What the device is thought to run, for messages.
    """

    python: str
    arch: str
    glibc: tuple[int, int]
    system: str

    @property
    def platforms(self) -> list[str]:
        """Platform tags from the best to the oldest, under both names that a wheel may carry (PEP 600)."""
        tags = []
        for minor in range(self.glibc[1], _LEAST_GLIBC[self.arch] - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.arch}")
            if minor in _LEGACY:
                tags.append(f"{_LEGACY[minor]}_{self.arch}")
        return [*tags, f"linux_{self.arch}"]

    @property
    def abis(self) -> list[str]:
        """ABI tags: of this Python, stable, none."""
        return [f"cp{self.python.replace('.', '')}", "abi3", "none"]

    @property
    def markers(self) -> dict[str, str]:
        """The environment that a requirement's marker asks about (PEP 508), of the device and not of this machine."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def __str__(self) -> str:
        return f"Python {self.python} on {self.arch} with glibc {self.glibc[0]}.{self.glibc[1]} ({self.system})"


def wheel_target(profile: DeviceProfile, python: str | None = None, glibc: str | None = None) -> WheelTarget:
    """What a device of this profile takes, with the Python of its system unless told.

    Parameters
    ----------
    python : str, optional
        Major.minor. A Jetson's newest native JetPack before 7 (6.x: 3.10) unless given; Thor has 7 only (3.12).
    glibc : str, optional
        Major.minor of the device's C library, where it runs another system than the usual.

    Raises
    ------
    ProfileError
        edgedx does not run on the device.
    UsageError
        No such Python.
    """
    if not profile.supported:
        raise ProfileError(
            f"{profile.title} is not supported", next_step=profile.unsupported_reason or "choose another device"
        )
    if python is not None and python not in PYTHONS:
        raise UsageError(f"--python {python}", next_step=f"choose one of {', '.join(PYTHONS)}")
    usual, libc, system = _usual_system(profile, python)
    if glibc is not None:
        match = re.fullmatch(r"2\.(\d{1,2})", glibc)
        if not match or int(match[1]) < _LEAST_GLIBC[profile.arch]:
            raise UsageError(f"--glibc {glibc}", next_step="give what `ldd --version` prints there, such as 2.35")
        libc = (2, int(match[1]))
    return WheelTarget(python or usual, profile.arch, libc, system)


def _usual_system(profile: DeviceProfile, python: str | None) -> tuple[str, tuple[int, int], str]:
    if profile.family == "jetson":
        native = [version for version in profile.jetpack if jetpack_support(version) == "native"]
        if not native:
            return *_CONTAINER, f"a container on JetPack {profile.jetpack[-1]}"
        shipped = next((version for version in native if JETPACKS[version].python == python), native[0])
        release = JETPACKS[shipped]
        return release.python, release.glibc, f"JetPack {shipped.partition('.')[0]}"
    default = _PI_PYTHON if profile.family == "arm" else _PC_PYTHON
    chosen = python or default
    return chosen, PYTHONS.get(chosen, (2, 31)), "the Linux distribution that ships this Python"
