"""The device profile: what a device is, as data (devices/*.yaml). It never says how fast a model runs there."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edgedx.core.errors import ProfileError

from .jetpack import JETPACKS
from .shipped import shipped_folder
from .validation import explain
from .yaml_file import read_yaml

Target = Literal["cpu", "jetson", "rtx"]
Arch = Literal["x86_64", "aarch64"]
TARGETS: tuple[Target, ...] = get_args(Target)
Feature = Literal["avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"]
Scheme = Literal["u8s8", "s8s8", "trt", "float"]

CPU_FEATURES: tuple[str, ...] = get_args(Feature)
"""CPU features that choose an INT8 kernel, in the words of Linux' /proc/cpuinfo."""

VNNI = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})
"""Any of these multiplies 8-bit numbers into 32-bit sums on x86, and so cannot saturate."""

_FAMILIES: dict[str, tuple[Target, Arch]] = {
    "x86": ("cpu", "x86_64"),
    "arm": ("cpu", "aarch64"),
    "jetson": ("jetson", "aarch64"),
    "rtx": ("rtx", "x86_64"),
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cpu(_Section):
    """The processor."""

    model: str = Field(description="Name of the cores, or of the processor.")
    cores: int | None = Field(
        None, ge=1, description="Physical cores, a count; null where the profile covers many processors."
    )
    features: list[Feature] = Field(
        [],
        description="INT8 features in the words of /proc/cpuinfo; in generic profiles one kind of VNNI stands for all.",
    )


class Gpu(_Section):
    """The GPU that TensorRT builds for."""

    name: str = Field(description="Architecture and core count, or family of cards.")
    sm: str = Field(
        pattern=r"^\d+\.\d$", description="Compute capability, major.minor; the lowest, for a family of cards."
    )
    sm_max: str | None = Field(
        None, pattern=r"^\d+\.\d$", description="Highest compute capability of a family of cards, major.minor."
    )
    dla_cores: int = Field(0, ge=0, description="Deep learning accelerators beside the GPU (FP16 and INT8), a count.")
    int8_tops_dense: float | None = Field(
        None, gt=0, description="Peak INT8 of the GPU alone without sparsity, 10^12 operations/s; null: none, unknown."
    )
    fp16_tflops: float | None = Field(
        None, gt=0, description="Peak FP16 without sparsity, 10^12 operations/s; null: unknown."
    )

    @property
    def has_int8(self) -> bool:
        """Whether TensorRT has INT8 kernels for it: SM 6.1 and above, save SM 6.2 (TensorRT support matrix)."""
        return _version(self.sm) >= (6, 1) and _version(self.sm) != (6, 2)


class Quantization(_Section):
    """Which 8-bit numbers the device's kernels are right and fast with. Weights are always per output channel."""

    scheme: Scheme = Field(
        description="Activations and weights: u8s8 unsigned and signed; s8s8 both signed; trt both signed and "
        "symmetric, as TensorRT wants Q/DQ; float: the device has no INT8."
    )
    reduce_range: Literal["measure", False] = Field(
        description="7-bit weights: measure tries both and keeps the better; false where nothing can saturate."
    )


class Recognise(_Section):
    """How a running device is known to be this one. Phrases match whole words, whatever their case."""

    module: list[str] = Field([], description="Module numbers in /proc/device-tree/compatible, e.g. p3767-0003.")
    board: list[str] = Field([], description="Phrases in /proc/device-tree/model.")
    cpu: list[str] = Field([], description="Phrases in the processor's name in /proc/cpuinfo.")
    gpu: list[str] = Field([], description="Phrases in the GPU's name as nvidia-smi prints it.")


class DeviceProfile(_Section):
    """One kind of device that a clinic may have."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of the file without .yaml.")
    title: str = Field(description="Name that the vendor uses.")
    family: Literal["x86", "arm", "jetson", "rtx"] = Field(description="Kind of device; decides target and arch.")
    target: Target = Field(description="Runtime: cpu is ONNX Runtime, jetson TensorRT, rtx TensorRT for RTX.")
    arch: Arch = Field(description="Instruction set of the CPU.")
    generic: bool = Field(False, description="A fallback for devices that no other profile names.")
    supported: bool = Field(True, description="Whether edgedx runs there.")
    unsupported_reason: str | None = Field(None, description="Why not, and what to do; only when not supported.")
    cpu: Cpu
    gpu: Gpu | None = Field(None, description="GPU that runs the model; null for CPU targets.")
    memory_gb: float | None = Field(None, gt=0, description="Memory as sold, 2^30 bytes; null where it varies.")
    memory_gbps: float | None = Field(None, gt=0, description="Peak bandwidth, 10^9 bytes/s; null where it varies.")
    power_modes_w: list[float] = Field(
        [], description="Power budgets to choose from, or the one it has, watts; empty where not known."
    )
    uncapped_mode: str | None = Field(None, description="Mode without a power budget, as nvpmodel names it.")
    jetpack: list[str] = Field([], description="JetPack releases that NVIDIA makes for it, major.minor.")
    storage: list[Literal["microsd", "emmc", "nvme", "sata", "usb"]] = Field(
        [], description="Media it can run from; microSD and eMMC wear out under a scanner that writes all day."
    )
    quantization: Quantization
    threads: int = Field(ge=0, description="CPU threads of one inference, a count; 0 lets the runtime choose.")
    recognise: Recognise = Field(
        default_factory=lambda: Recognise.model_validate({}),
        description="How a running device is matched; empty for generic profiles.",
    )
    notes: list[str] = Field([], description="What a user of this device should know, one sentence each.")
    sources: dict[str, str] = Field(
        {}, description="Dotted field, or section, to where its figures come from; the field's own wins."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        target, arch = _FAMILIES[self.family]
        if (self.target, self.arch) != (target, arch):
            raise ValueError(f"family {self.family} has target: {target} and arch: {arch}")
        if (self.gpu is None) != (target == "cpu"):
            raise ValueError(f"gpu: {'null for a CPU target' if target == 'cpu' else 'required for target ' + target}")
        if self.supported == (self.unsupported_reason is not None):
            raise ValueError("unsupported_reason: say why when supported is false, and only then")
        if self.jetpack and self.family != "jetson":
            raise ValueError("jetpack: only for the family jetson")
        if unknown := [release for release in self.jetpack if release not in JETPACKS]:
            raise ValueError(f"jetpack: {unknown[0]!r} is not one of {', '.join(JETPACKS)}")
        if self.cpu.cores is not None and self.threads > self.cpu.cores:
            raise ValueError(f"threads: {self.threads} is more than the {self.cpu.cores} cores")
        if self.power_modes_w != sorted(set(self.power_modes_w)) or min(self.power_modes_w, default=1.0) <= 0:
            raise ValueError("power_modes_w: give each budget once, in rising order, in watts")
        if self.gpu is not None and self.gpu.sm_max is not None and _version(self.gpu.sm_max) < _version(self.gpu.sm):
            raise ValueError(f"gpu.sm_max: {self.gpu.sm_max} is below gpu.sm {self.gpu.sm}")
        return self

    def source_of(self, key: str) -> str:
        """Where the figure of a dotted field comes from: its own source, else its section's, else empty."""
        return self.sources.get(key) or self.sources.get(key.partition(".")[0], "")

    @model_validator(mode="after")
    def _sources_name_fields(self) -> Self:
        for key in self.sources:
            value: Any = self
            for part in key.split("."):
                if not isinstance(value, BaseModel) or part not in type(value).model_fields:
                    raise ValueError(f"sources: {key!r} is not a field of this profile")
                value = getattr(value, part)
        return self

    @model_validator(mode="after")
    def _kernels_do_not_saturate(self) -> Self:
        has_int8 = self.gpu is None or self.gpu.has_int8
        right = quantization_for(self.target, self.arch, self.cpu.features, has_int8=has_int8)
        if self.quantization != right:
            raise ValueError(f"quantization: {_objection(self, right)}")
        return self


def quantization_for(target: Target, arch: Arch, features: Collection[str], *, has_int8: bool = True) -> Quantization:
    """Scheme that a device's kernels compute rightly (table "Schemes by target" of docs/compression.md).

    Parameters
    ----------
    target, arch : str
        As in `DeviceProfile`.
    features : collection of str
        CPU features among `CPU_FEATURES`.
    has_int8 : bool
        Whether the GPU has INT8 kernels; only asked for TensorRT targets.
    """
    if target != "cpu":
        return Quantization(scheme="trt" if has_int8 else "float", reduce_range=False)
    if arch == "aarch64":
        return Quantization(scheme="s8s8", reduce_range=False)
    return Quantization(scheme="u8s8", reduce_range=False if VNNI & set(features) else "measure")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _objection(profile: DeviceProfile, right: Quantization) -> str:
    reduce = "measure" if right.reduce_range else "false"
    use = f"use scheme: {right.scheme} with reduce_range: {reduce}"
    if profile.target != "cpu":
        if right.scheme == "float":
            return f"this GPU has no INT8 kernels; {use}"
        return f"TensorRT takes signed symmetric Q/DQ only; {use}"
    if profile.arch == "aarch64":
        return f"ARM kernels multiply signed by signed, and sum without saturating; {use}"
    if right.reduce_range:
        return (
            f"x86 without VNNI (features: {', '.join(profile.cpu.features) or 'none'}) sums pairs of 8-bit products in "
            "16 bits, where they saturate in silence: an S8S8 model measured so fell from a test AUC of .953 to .445; "
            f"{use}"
        )
    return f"VNNI multiplies unsigned activations by signed weights in 32 bits; {use}"


def load_profile(name_or_path: str) -> DeviceProfile:
    """Read a shipped profile by name, or a YAML file.

    Parameters
    ----------
    name_or_path : str
        A name that `list_profiles` gives, or a path that ends in .yaml or .yml.

    Raises
    ------
    ProfileError
        Unknown profile, key or value; names the key and the nearest known one.
    InputOutputError
        The file cannot be read.
    """
    path = _find(name_or_path)
    return parse_profile(read_yaml(path, ProfileError), str(path))


def parse_profile(raw: Any, where: str = "profile") -> DeviceProfile:
    """Validate a mapping as a profile (see `load_profile` for errors)."""
    try:
        return DeviceProfile.model_validate(raw)
    except ValidationError as error:
        raise ProfileError(
            explain(error, DeviceProfile, where),
            next_step="`edgedx devices show x86-vnni` shows a profile that is right",
        ) from error


def list_profiles() -> list[str]:
    """Names of the shipped profiles, sorted."""
    return sorted(path.stem for path in shipped_folder("devices").glob("*.yaml"))


def load_profiles() -> list[DeviceProfile]:
    """All shipped profiles, by name."""
    return [load_profile(name) for name in list_profiles()]


_USUAL: dict[str, str] = {"cpu": "x86-avx2", "jetson": "orin-nano-8gb", "rtx": "rtx-pc"}


def usual_profile(target: Target) -> DeviceProfile:
    """The profile that stands for a target where no device was named.

    For CPUs the one whose models every x86 computes rightly. No profile is generic for all Jetsons; an engine is built
    on the device itself, so that the smallest that is sold stands for them.
    """
    return load_profile(_USUAL[target])


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        return path
    names = list_profiles()
    if name_or_path not in names:
        near = difflib.get_close_matches(name_or_path, names, n=1, cutoff=0.5)
        raise ProfileError(
            f"no device profile {name_or_path!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            next_step="`edgedx devices list` shows all; or give the path of a .yaml file",
        )
    return shipped_folder("devices") / f"{name_or_path}.yaml"
