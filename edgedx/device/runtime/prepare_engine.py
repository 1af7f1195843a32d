"""The engine that serves a variant here: from the cache, else from the bundle, else built now and kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.bundle.engine_part import unpack_engine
from edgedx.core.bundle.manifest import Bundle, Engine
from edgedx.core.errors import StorageError, UsageError
from edgedx.core.settings.profile import list_profiles, load_profile

from .build_trt import SECONDS, build_engine
from .cuda import CudaDevice, find_gpu
from .engine_cache import CacheLookup, Choice, EngineCache, EngineKey
from .engine_settings import MAX_BATCH, BuildReport, BuildSettings, check_dla, workspace_bytes
from .tensorrt_library import Library, load_for


@dataclass(frozen=True)
class Prepared:
    """An engine to deserialize.

    Attributes
    ----------
    origin : str
        ``cache``, ``bundle`` or ``built``.
    why : str
        Why it was not taken from the cache; empty where it was.
    """

    plan: bytes
    key: EngineKey
    origin: str
    why: str
    report: BuildReport | None = None


def choose_shipped(engines: list[Engine], key: EngineKey) -> tuple[Engine | None, str]:
    """The bundle's engine that serves here, or why none does. A pure decision."""
    of_model = [one for one in engines if one.model_sha256 == key.model_sha256 and one.runtime == key.runtime]
    if not of_model:
        return None, "the bundle brings no engine for this model and runtime"
    same = [one for one in of_model if one.runtime_version == key.runtime_version]
    if not same:
        return None, f"the bundle's engine is of {key.runtime} {of_model[0].runtime_version}, not {key.runtime_version}"
    for one in same:
        if key.sm in one.sm:
            return one, ""
    return None, f"the bundle's engines are for SM {', '.join(sorted({sm for one in same for sm in one.sm}))}"


def engines_folder(bundle: Path) -> Path:
    """Where the engines of a bundle are kept: beside the slots it is installed in, else the user's cache."""
    if bundle.parent.name == "slots":
        return bundle.parent.parent / "engines"
    cache = os.environ.get("EDGEDX_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "edgedx"
    )
    return Path(cache) / "engines"


def engine_key(bundle: Bundle, variant: str, library: Library, gpu: CudaDevice, choice: Choice) -> EngineKey:
    """The key of a variant's engine on this machine."""
    entry = bundle.manifest.variants[variant]
    return EngineKey(
        model_sha256=bundle.manifest.parts[entry.file].sha256,
        precision=entry.precision,
        runtime=library.flavour,
        runtime_version=library.version,
        gpu=gpu.name,
        sm=gpu.sm,
        max_batch=1 if choice.dla is not None else MAX_BATCH,
        dla=choice.dla,
        level=choice.level,
    )


def prepare_engine(
    bundle: Bundle,
    *,
    variant: str | None = None,
    choice: Choice | None = None,
    seconds: float = SECONDS,
    rebuild: bool = False,
    quiet: bool = False,
) -> Prepared:
    """An engine for this machine: from the cache, else from the bundle, else built now and kept.

    Parameters
    ----------
    variant : str, optional
        One whose purpose is tensorrt; the bundle's default unless given.
    choice : Choice, optional
        Accelerator and level; what was chosen for this model before, unless given.
    rebuild : bool
        Build even if an engine is there.

    Raises
    ------
    ProviderMissing
        No TensorRT, no GPU, or the builder died.
    UsageError
        The variant is not for TensorRT, or DLA cannot run it.
    MissingError, UnsupportedModel, StorageError
        See `build_engine`.
    """
    name = tensorrt_variant(bundle, variant)
    library, gpu = load_for(bundle.manifest.target), find_gpu()
    entry = bundle.manifest.variants[name]
    cache = EngineCache(engines_folder(bundle.path))
    choice = choice or cache.choice(bundle.manifest.parts[entry.file].sha256)
    memory_gb, dla_cores = _device(bundle.manifest.profile)
    if choice.dla is not None:
        check_dla(entry.precision, dla_cores, choice.dla, library.abilities, bundle.manifest.profile)
    key = engine_key(bundle, name, library, gpu, choice)
    settings = BuildSettings(
        flavour=library.flavour,
        precision=entry.precision,
        max_batch=key.max_batch,
        workspace_bytes=workspace_bytes(memory_gb, _available_bytes()),
        level=choice.level,
        dla=choice.dla,
        timing_cache=str(cache.timing(key)),
    )

    def build(folder: Path) -> tuple[bytes, BuildReport]:
        built = build_engine(bundle.model(name), settings, seconds=seconds, folder=folder, quiet=quiet)
        return built.plan, built.report

    return obtain(cache, key, bundle, build, rebuild=rebuild)


def obtain(
    cache: EngineCache,
    key: EngineKey,
    bundle: Bundle,
    build: Callable[[Path], tuple[bytes, BuildReport]],
    *,
    rebuild: bool = False,
) -> Prepared:
    """Cache, bundle or builder, in this order; what was built is stored.

    A full or read-only disk costs the cache and not the service: the engine just built is used, and built again later.
    """
    found = CacheLookup(None, "it was asked for") if rebuild else cache.load(key)
    if found.plan is not None:
        return Prepared(found.plan, key, "cache", "")
    if not rebuild:
        shipped, _ = choose_shipped(bundle.manifest.engines, key)
        if shipped is not None:
            return Prepared(unpack_engine(bundle.read(shipped.file), shipped), key, "bundle", found.why)
    with cache.building():
        again = CacheLookup(None, found.why) if rebuild else cache.load(key)  # built by another process meanwhile
        if again.plan is not None:
            return Prepared(again.plan, key, "cache", "")
        plan, report = build(cache.folder)
        with contextlib.suppress(StorageError):
            cache.store(key, plan, report)
    return Prepared(plan, key, "built", found.why, report)


def tensorrt_variant(bundle: Bundle, variant: str | None) -> str:
    """Name of the variant to build, which must be made for TensorRT.

    Raises
    ------
    UsageError
        It is not.
    BundleError
        No such variant.
    """
    name = variant or bundle.manifest.default_variant
    bundle.model(name)
    if bundle.manifest.variants[name].purpose != "tensorrt":
        made = [key for key, value in bundle.manifest.variants.items() if value.purpose == "tensorrt"]
        raise UsageError(
            f"variant {name!r} runs on the CPU: there is no engine to build",
            next_step=f"--variant {made[0]}" if made else "deploy for a jetson or rtx device",
        )
    return name


def _device(profile: str) -> tuple[float | None, int]:
    """Memory and accelerators of the profile that the bundle was made for, where it is known here."""
    if profile not in list_profiles():
        return None, 0
    known = load_profile(profile)
    return known.memory_gb, known.gpu.dla_cores if known.gpu is not None else 0


def _available_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return None
