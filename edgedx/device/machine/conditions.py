"""What a latency depends on and nobody remembers: power mode, clocks, temperature. Read from Linux, nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_NVPMODEL_TIMEOUT_S = 10.0


def read_conditions(root: Path = Path("/"), *, nvpmodel: Callable[[], str | None] | None = None) -> dict[str, Any]:
    """Power mode, clocks in MHz and temperatures in degrees Celsius, now; None and empty where Linux does not say.

    Parameters
    ----------
    root : Path
        Root of the file system; another than ``/`` is a recorded machine.
    nvpmodel : callable, optional
        Returns the text of ``nvpmodel -q``, or None.
    """
    if nvpmodel is None:
        nvpmodel = run_nvpmodel if root == Path("/") else lambda: None
    return {
        "power_mode": parse_nvpmodel(nvpmodel() or ""),
        "cpu_mhz": dict(_cpu_clocks(root)),
        "gpu_mhz": dict(_gpu_clocks(root)),
        "temperature_c": dict(_temperatures(root)),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def run_nvpmodel() -> str | None:
    """Text of ``nvpmodel -q``; None where there is none, or it fails."""
    program = shutil.which("nvpmodel")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "-q"], capture_output=True, text=True, timeout=_NVPMODEL_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def parse_nvpmodel(text: str) -> str | None:
    """Name of the power mode in the text of ``nvpmodel -q``."""
    match = re.search(r"^NV Power Mode:\s*(\S+)", text, re.M)
    return match[1] if match else None


def _cpu_clocks(root: Path) -> Iterator[tuple[str, dict[str, float]]]:
    for folder in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq")):
        clocks = {
            name: value / 1000
            for name, file in (("now", "scaling_cur_freq"), ("max", "scaling_max_freq"))
            if (value := _number(folder / file)) is not None
        }
        if clocks:
            yield folder.parent.name, clocks


def _gpu_clocks(root: Path) -> Iterator[tuple[str, dict[str, float]]]:
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if not re.search(r"gpu|gv11b|ga10b|gp10b|gm20b", folder.name):
            continue
        clocks = {
            name: value / 1e6
            for name, file in (("now", "cur_freq"), ("max", "max_freq"))
            if (value := _number(folder / file)) is not None
        }
        if clocks:
            yield folder.name, clocks


def _temperatures(root: Path) -> Iterator[tuple[str, float]]:
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value, name = _number(folder / "temp"), _text(folder / "type")
        if value is not None and name:
            yield name, value / 1000


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:  # some thermal zones answer EAGAIN while their part is switched off
        return None


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None
