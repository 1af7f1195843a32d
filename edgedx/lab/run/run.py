"""A run folder: its stages and what they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedx.core.errors import UsageError
from edgedx.core.files import atomic_write

from .stage import RECORD, read_record


def save_logits(folder: Path, logits: dict[str, np.ndarray]) -> None:
    """Keep logits by split in ``logits.npz``; later stages compare themselves with them."""
    with atomic_write(folder / "logits.npz") as stream:
        np.savez(stream, **logits)  # type: ignore[arg-type]


def compressed_folder(run: Path) -> Path:
    """The finished folder of ONNX variants of a run: ``int8`` where there is one, else ``onnx``.

    Raises
    ------
    UsageError
        The run was not compressed yet.
    """
    for name in ("int8", "onnx"):
        if (run / name / "stage.json").is_file():
            return run / name
    raise UsageError(f"{run} holds no compressed model", next_step=f"edgedx compress {run} --int8")


def bundle_of(run: Path) -> Path:
    """The bundle that `edgedx deploy` wrote into a run.

    Raises
    ------
    UsageError
        There is none yet.
    """
    if (run / "bundle" / RECORD).is_file():
        # The run may have been moved since.
        path = run / "bundle" / Path(read_record(run / "bundle")["metrics"]["bundle"]).name
        if path.is_file():
            return path
    raise UsageError(f"{run} holds no bundle", next_step=f"edgedx deploy {run}")


def shipped_artifact(run: Path) -> Path:
    """What of a run is to be judged: its bundle where it is of the compressed model, else the variant that would ship.

    Raises
    ------
    UsageError
        Nothing is compressed yet.
    """
    folder = compressed_folder(run)
    compressed = read_record(folder)
    if (run / "bundle" / RECORD).is_file():
        record = read_record(run / "bundle")
        bundle = run / "bundle" / Path(record["metrics"]["bundle"]).name  # the run may have been moved since
        if record["inputs"].get("compressed") == compressed["fingerprint"] and bundle.is_file():
            return bundle
    variants = compressed["metrics"]["variants"]
    name = next((name for name in reversed(variants) if name.startswith("int8")), list(variants)[-1])
    return folder / str(variants[name]["file"])
