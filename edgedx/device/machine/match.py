"""Which device profile fits a machine: a pure decision on the facts of `hardware`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from edgedx.core.errors import ProfileError
from edgedx.core.settings.profile import DeviceProfile, load_profile, load_profiles, quantization_for

from .hardware import Hardware, read_hardware


def match_profile(hardware: Hardware, profiles: Iterable[DeviceProfile]) -> tuple[DeviceProfile, str]:
    """Choose the profile that fits a machine, and say why.

    Asked in this order: module number, name of the board, GPU, name of the processor, instruction set.

    Returns
    -------
    (DeviceProfile, str)
        It may be one that edgedx does not support; see its ``supported``.

    Raises
    ------
    ProfileError
        Not even a generic profile fits.
    """
    same_arch = [profile for profile in profiles if profile.arch == hardware.arch]
    board = hardware.board.model if hardware.board else ""
    modules = " ".join(hardware.board.compatible) if hardware.board else ""
    gpus = " / ".join(gpu.name for gpu in hardware.gpus)
    asked: list[tuple[str, Callable[[DeviceProfile], bool]]] = [
        ("module number in the device tree", lambda p: any(number in modules for number in p.recognise.module)),
        (f"board {board!r}", lambda p: _mentions(board, p.recognise.board)),
        (f"GPU {gpus}", lambda p: _mentions(gpus, p.recognise.gpu)),
        (f"processor {hardware.cpu.model!r}", lambda p: _mentions(hardware.cpu.model, p.recognise.cpu)),
    ]
    for reason, fits in asked:
        if found := [profile for profile in same_arch if fits(profile)]:
            best = min(found, key=lambda profile: _distance(profile, hardware))
            return best, reason + _memory_remark(best, hardware)
    return _generic(same_arch, hardware)


def _generic(profiles: Iterable[DeviceProfile], hardware: Hardware) -> tuple[DeviceProfile, str]:
    features = hardware.cpu.features
    found = [
        profile
        for profile in profiles
        if profile.generic
        and profile.target == "cpu"
        and profile.quantization == quantization_for("cpu", profile.arch, features)
    ]
    if not found:
        raise ProfileError(
            f"no device profile fits {hardware.arch} with {', '.join(features) or 'none of the known CPU features'}",
            next_step="write one from `edgedx devices show x86-avx2` and name its file where a command takes a profile",
        )
    known = "a Jetson that no profile names, as a CPU" if hardware.jetson else "no profile names it"
    return found[0], f"generic: {known}; {hardware.arch} with {', '.join(features) or 'no INT8 features'}"


def _distance(profile: DeviceProfile, hardware: Hardware) -> tuple[bool, float, int]:
    """How far a candidate is from the machine: another board name, other memory, other power modes."""
    board = hardware.board.model if hardware.board else ""
    modes = set(hardware.jetson.power_modes) if hardware.jetson else set()
    if "super" in board.lower():
        modes.add("MAXN_SUPER")  # a container sees the device tree but not /etc/nvpmodel.conf
    memory = 0.0
    if profile.memory_gb and hardware.memory_gb:
        memory = abs(math.log2(profile.memory_gb / hardware.memory_gb))
    mode = 1 if profile.uncapped_mode is None else (0 if profile.uncapped_mode in modes else 2)
    return not _mentions(board, profile.recognise.board), memory, mode


def _memory_remark(profile: DeviceProfile, hardware: Hardware) -> str:
    if profile.memory_gb and hardware.memory_gb and hardware.memory_gb < 0.75 * profile.memory_gb:
        return f"; it has {hardware.memory_gb:.1f} GB of memory, the profile {profile.memory_gb:g}"
    return ""


def _mentions(text: str, phrases: Iterable[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) for phrase in phrases)


def profile_for(device: str) -> DeviceProfile:
    """The profile called `device`, or for ``this`` the one that fits this machine."""
    if device != "this":
        return load_profile(device)
    return match_profile(read_hardware(), load_profiles())[0]
