"""What this machine is fit for, what is missing, and how to get it. Data only: the command prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgedx.core.errors import ProfileError
from edgedx.core.settings.jetpack import jetpack_support
from edgedx.core.settings.profile import DeviceProfile, load_profiles

from .hardware import Hardware, read_hardware
from .match import match_profile
from .software import EXTRAS, Software, read_software

Status = Literal["ok", "warning", "missing"]

MIN_PYTHON = (3, 10)
LOW_MEMORY_GB = 1.0  # the runtime and a warm decoder, each with a large radiograph in float32, beside the system
LOW_DISK_GB = 2.0  # two slots of a bundle, the ledger, and results until someone fetches them


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    name : str
        What was looked at.
    value : str
        What was found.
    status : str
        ``ok``; ``warning``: works, with a limit; ``missing``.
    how : str
        What to do about it; empty where there is nothing to do.
    required : bool
        Whether edgedx cannot run here while this is missing.
    """

    name: str
    value: str
    status: Status
    how: str = ""
    required: bool = False


@dataclass(frozen=True)
class Examination:
    """All that `examine_here` found; `profile` is the name of the one that fits, or None."""

    hardware: Hardware
    software: Software
    profile: str | None
    findings: tuple[Check, ...]

    @property
    def missing_required(self) -> tuple[Check, ...]:
        """Findings without which edgedx cannot run here."""
        return tuple(item for item in self.findings if item.required and item.status == "missing")


def examine_here(folder: Path) -> Examination:
    """Examine this machine; `folder` is where bundles and results will be kept.

    Raises
    ------
    ProfileError
        A shipped profile is damaged.
    """
    hardware, software, profiles = read_hardware(folder=folder), read_software(), load_profiles()
    try:
        name: str | None = match_profile(hardware, profiles)[0].name
    except ProfileError:
        name = None
    return Examination(hardware, software, name, tuple(examine(hardware, software, profiles)))


def examine(hardware: Hardware, software: Software, profiles: Sequence[DeviceProfile]) -> list[Check]:
    """Judge the facts of a machine: hardware first, then what is required, then what is optional."""
    profile: DeviceProfile | None = None
    try:
        profile, reason = match_profile(hardware, profiles)
        first = _profile(profile, reason)
    except ProfileError as error:
        first = Check("device profile", error.message, "missing", error.next_step or "", required=True)
    return [
        first,
        *_machine(hardware, profile),
        *_jetson(hardware, profile),
        *_required(software),
        *_accelerator(hardware, software, profile),
        *_decoders(software),
        *_extras(software),
    ]


def _profile(profile: DeviceProfile, reason: str) -> Check:
    value = f"{profile.name} ({reason})"
    if profile.supported:
        return Check("device profile", value, "ok")
    return Check("device profile", value, "missing", profile.unsupported_reason or "", required=True)


def _machine(hardware: Hardware, profile: DeviceProfile | None) -> Iterator[Check]:
    linux = "Windows" not in hardware.os and "Darwin" not in hardware.os
    yield Check(
        "system",
        f"{hardware.os}, {hardware.arch}",
        "ok" if linux else "warning",
        "" if linux else "the scanner is tested on Linux only",
    )
    cpu = hardware.cpu
    int8 = ""
    if profile is not None and profile.target == "cpu":
        int8 = f"; INT8 as {profile.quantization.scheme}"
        if profile.quantization.reduce_range:
            int8 += ", which can saturate here: edgedx measures it"
    features = ", ".join(cpu.features) or "no INT8 features"
    yield Check("processor", f"{cpu.model}, {cpu.cores} cores, {features}{int8}", "ok")
    yield _amount("memory", hardware.memory_gb, LOW_MEMORY_GB, "choose a small input size and one scanner")
    yield _amount("free disk", hardware.disk_free_gb, LOW_DISK_GB, "free some space, or name another folder")


def _amount(name: str, value: float | None, low: float, how: str) -> Check:
    if value is None:
        return Check(name, "unknown", "warning", "could not be read; look yourself")
    enough = value >= low
    return Check(name, f"{value:.1f} GB", "ok" if enough else "warning", "" if enough else f"below {low:g} GB: {how}")


def _jetson(hardware: Hardware, profile: DeviceProfile | None) -> Iterator[Check]:
    if hardware.jetson is None:
        return
    l4t, jetpack = hardware.jetson.l4t, hardware.jetson.jetpack
    if jetpack is None:
        how = "in a container, mount /etc/nv_tegra_release; else `cat /etc/nv_tegra_release` on the device"
        yield Check("JetPack", f"L4T {l4t or 'unknown'}", "warning", how)
        return
    value = f"{jetpack} (L4T {l4t})"
    support = jetpack_support(jetpack)
    if support == "native":
        yield Check("JetPack", value, "ok")
    elif support == "update":
        yield Check("JetPack", value, "warning", "update to JetPack 6.1 or newer: sudo apt full-upgrade")
    elif support == "container":
        how = "its Python is too old: run edgedx in a container with Python 3.10 or newer"
        if profile is not None and any(jetpack_support(item) == "native" for item in profile.jetpack):
            how += ", or flash JetPack 6.1 or newer"
        yield Check("JetPack", value, "warning", how)
    else:
        yield Check("JetPack", value, "missing", "JetPack 4 is not supported: flash JetPack 5 or newer", required=True)


def _required(software: Software) -> Iterator[Check]:
    python = tuple(int(part) for part in software.python.split(".")[:2])
    new_enough = python >= MIN_PYTHON
    yield Check(
        "Python",
        software.python,
        "ok" if new_enough else "missing",
        "" if new_enough else "install Python 3.10 or newer",
        required=True,
    )
    missing = [name for name, found in software.base.items() if found is None]
    if missing:
        how = "pip install edgedx"
        yield Check("base packages", f"missing: {', '.join(missing)}", "missing", how, required=True)
    else:
        shown = ", ".join(f"{name} {found}" for name, found in software.base.items())
        yield Check("base packages", shown, "ok", required=True)
    runtime = software.onnxruntime
    if runtime is None:
        how = "pip install onnxruntime"
        yield Check("ONNX Runtime", "not installed, or does not load", "missing", how, required=True)
    else:
        yield Check("ONNX Runtime", f"{runtime.version}: {', '.join(runtime.providers)}", "ok", required=True)


def _accelerator(hardware: Hardware, software: Software, profile: DeviceProfile | None) -> Iterator[Check]:
    for gpu in hardware.gpus:
        memory = f", {gpu.memory_gb:g} GB" if gpu.memory_gb else ""
        yield Check("GPU", f"{gpu.name}, SM {gpu.sm or 'unknown'}{memory}, driver {gpu.driver}", "ok")
    if profile is None or profile.target == "cpu":
        return
    if profile.target == "jetson":
        name, found = "TensorRT", software.tensorrt
        how = "sudo apt install python3-libnvinfer, and make the environment with --system-site-packages"
    else:
        name, found = "TensorRT for RTX", software.tensorrt_rtx
        how = "pip install tensorrt_rtx_cu13_bindings onnxruntime-ep-nv-tensorrt-rtx-cu13"
    if found is None:
        yield Check(name, "not installed: models run on the CPU, only when asked to", "missing", how)
    else:
        yield Check(name, found, "ok")


def _decoders(software: Software) -> Iterator[Check]:
    for family, found in software.decoders.items():
        if found is None:
            how = "pip install --force-reinstall edgedx"
            yield Check(f"DICOM {family}", "no decoder: such images are refused", "missing", how)
        else:
            yield Check(f"DICOM {family}", found, "ok")


def _extras(software: Software) -> Iterator[Check]:
    for key, extra in EXTRAS.items():
        packages = software.extras[key]
        missing = [name for name, found in packages.items() if found is None]
        if missing:
            value = f"{extra.feature}; missing: {', '.join(missing)}"
            yield Check(f"extra {key}", value, "missing", f"pip install 'edgedx[{key}]'")
        else:
            shown = ", ".join(f"{name} {found}" for name, found in packages.items())
            yield Check(f"extra {key}", shown, "ok")
