"""edgedx: train, shrink, prove and ship medical-image classifiers to small computers.

Not a medical device. Zones, named for where code runs, import one way:
``api, cli -> lab -> device -> dicom -> core``; torch lives in ``lab`` alone.

    import edgedx

    run = edgedx.finetune("pneumonia-mnist")      # the full model
    edgedx.compress(run)                          # the student, for this machine
    bundle = edgedx.deploy(run)                   # what a device installs
    edgedx.open_model(bundle).predict("chest.dcm")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from edgedx.api.model import Model, open_model
    from edgedx.api.prediction import ImagePrediction
    from edgedx.api.stages import compress, deploy, finetune, gate, update

__all__ = ["ImagePrediction", "Model", "__version__", "compress", "deploy", "finetune", "gate", "open_model", "update"]

_HOMES = {
    "ImagePrediction": "prediction",
    "Model": "model",
    "open_model": "model",
    "compress": "stages",
    "deploy": "stages",
    "finetune": "stages",
    "gate": "stages",
    "update": "stages",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `import edgedx` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgedx' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"edgedx.api.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
