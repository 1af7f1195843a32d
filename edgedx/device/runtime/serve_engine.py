"""A TensorRT engine that may serve: built or found in the cache, and proven by golden samples."""

from __future__ import annotations

from edgedx.core.bundle.manifest import Bundle

from .build_trt import SECONDS
from .engine_cache import Choice, EngineCache
from .prepare_engine import Prepared, engines_folder, prepare_engine, tensorrt_variant
from .run_trt import TensorrtRunner


def serve_engine(
    bundle: Bundle,
    *,
    variant: str | None = None,
    choice: Choice | None = None,
    seconds: float = SECONDS,
    rebuild: bool = False,
) -> tuple[Prepared, float]:
    """Build a variant's engine, prove it with the golden samples, and only then let it serve from now on.

    Returns
    -------
    Prepared
        The engine.
    float
        Greatest difference of logits on the golden samples.

    Raises
    ------
    GateRefused
        The engine computes other values than the workstation did; what served before still serves.
    ProviderMissing, MissingError, UsageError, UnsupportedModel, StorageError
        See `prepare_engine`.
    """
    from .golden import check_golden

    choice = choice or Choice()
    name = tensorrt_variant(bundle, variant)
    prepared = prepare_engine(bundle, variant=name, choice=choice, seconds=seconds, rebuild=rebuild)
    with TensorrtRunner(bundle, name, choice=choice) as runner:
        difference = check_golden(bundle, runner, name)
    EngineCache(engines_folder(bundle.path)).choose(prepared.key.model_sha256, choice)
    return prepared, difference
