"""Engines built ahead of time for PCs with RTX cards, by NVIDIA's own builder, on a machine without any GPU.

What NVIDIA's parser refuses, wrong types, unsupported operators and dynamic sizes are thus found here and not in the
clinic. TensorRT for RTX finishes an engine on the card that it meets. It knows no Jetson.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgedx.core.bundle.engine_part import pack_engine
from edgedx.core.bundle.manifest import Engine, Variant
from edgedx.core.errors import ProviderMissing, UnsupportedModel
from edgedx.core.files import sha256_bytes
from edgedx.core.settings.profile import DeviceProfile
from edgedx.device.runtime.build_trt import build_engine
from edgedx.device.runtime.engine_settings import BuildSettings, Built, Precision, workspace_bytes
from edgedx.device.runtime.tensorrt_library import load_library

# NVIDIA: engines run on all of these by default, save Turing, which wants one of its own (TensorRT-RTX documentation,
# "CPU-Only AOT and TensorRT-RTX Engines").
TURING = ("7.5",)
AMPERE_AND_LATER = ("8.0", "8.6", "8.9", "12.0")
SECONDS = 600.0


@dataclass(frozen=True)
class Shipped:
    """Engines for a bundle.

    Attributes
    ----------
    engines : list of Engine
        For the manifest.
    parts : dict
        Name of the part to its content.
    records : list of dict
        One for each engine that was tried: variant, compute capabilities, sizes in bytes, seconds, layers, types; or
        why it could not be built.
    note : str
        Why there is none; empty where there are.
    """

    engines: list[Engine] = field(default_factory=list)
    parts: dict[str, bytes] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""


def capability_groups(profile: DeviceProfile) -> list[tuple[str, ...]]:
    """Compute capabilities of a profile's cards, one group for each engine."""
    if profile.gpu is None:
        return []
    low, high = _number(profile.gpu.sm), _number(profile.gpu.sm_max or profile.gpu.sm)
    groups = [tuple(sm for sm in group if low <= _number(sm) <= high) for group in (AMPERE_AND_LATER, TURING)]
    return [group for group in groups if group]


def build_ahead(
    model: bytes, precision: Precision, capabilities: Sequence[str] = AMPERE_AND_LATER, *, quiet: bool = False
) -> Built:
    """Build one engine for cards that are not here.

    Raises
    ------
    UnsupportedModel
        NVIDIA's parser or builder refuses the graph.
    ProviderMissing, MissingError
        See `build_engine`.
    """
    settings = BuildSettings(
        flavour="tensorrt_rtx",
        precision=precision,
        workspace_bytes=workspace_bytes(None),
        capabilities=tuple(capabilities),
    )
    return build_engine(model, settings, seconds=SECONDS, quiet=quiet)


def ship_engines(variants: Mapping[str, Variant], models: Mapping[str, bytes], profile: DeviceProfile) -> Shipped:
    """Build an engine of each TensorRT variant for each group of a profile's cards.

    Without TensorRT for RTX here there are none, which is said: the PC then builds its own during installation.
    A variant that is refused for some cards ships without an engine for these.

    Raises
    ------
    UnsupportedModel
        A variant is refused for every card: it would not run in the clinic either.
    """
    try:
        version = load_library("tensorrt_rtx").version
    except ProviderMissing as error:
        return Shipped(note=f"{error.message}: no engine ships, the PC builds its own ({error.next_step})")
    shipped = Shipped()
    for name, variant in variants.items():
        if variant.purpose != "tensorrt":
            continue
        refused: list[UnsupportedModel] = []
        groups = capability_groups(profile)
        for group in groups:
            try:
                built = build_ahead(models[name], variant.precision, group)
            except UnsupportedModel as error:
                refused.append(error)
                shipped.records.append({"variant": name, "sm": list(group), "refused": error.message})
                continue
            _add(shipped, name, models[name], built, group, version)
        if groups and len(refused) == len(groups):
            raise refused[0]
    return shipped


def _add(shipped: Shipped, name: str, model: bytes, built: Built, group: tuple[str, ...], version: str) -> None:
    part = pack_engine(built.plan)
    file = f"engines/{name}-sm{group[0].replace('.', '')}.xz"
    shipped.parts[file] = part
    shipped.engines.append(
        Engine(
            file=file,
            variant=name,
            runtime="tensorrt_rtx",
            runtime_version=version,
            model_sha256=sha256_bytes(model),
            sm=list(group),
            bytes=len(built.plan),
            sha256=sha256_bytes(built.plan),
        )
    )
    record = {"variant": name, "sm": list(group), "bytes": len(built.plan), "compressed_bytes": len(part)}
    shipped.records.append({**record, **asdict(built.report)})


def _number(sm: str) -> tuple[int, ...]:
    return tuple(int(piece) for piece in sm.split("."))
