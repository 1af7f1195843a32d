"""Which models a call of `edgedx explain` means: of a run its teacher, its student and what ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgedx.core.errors import UsageError
from edgedx.core.files import read_json
from edgedx.lab.judge.subject import CARD, Subject, open_subject
from edgedx.lab.run.stage import RECORD, read_record


def open_models(
    paths: Sequence[Path], *, run: Path | None = None, threads: int = 0, device: str = "cpu"
) -> list[Subject]:
    """Open all models, a run as its own; the first is the reference.

    Raises
    ------
    UsageError
        A run that holds no model yet.
    """
    models = [model for path in paths for model in (_of_run(path) if _is_run(path) else [path])]
    return [open_subject(path, run=run, threads=threads, device=device) for path in models]


def _is_run(path: Path) -> bool:
    return (path / "recipe.yaml").is_file() and not (path / CARD).is_file()


def _of_run(run: Path) -> list[Path]:
    models = [run / role for role in ("teacher", "student") if (run / role / CARD).is_file()]
    if not models:
        raise UsageError(f"{run} has no model yet", next_step="edgedx finetune RECIPE")
    return [*models, *_shipped(run)]


def _shipped(run: Path) -> list[Path]:
    """The variant of the bundle; where there is none yet, the last one in 8 bits; none where nothing is compressed."""
    folder = next((run / name for name in ("int8", "onnx") if (run / name / "metrics.json").is_file()), None)
    if folder is None:
        return []
    variants = list(read_json(folder / "metrics.json").get("variants", {}))
    if (run / "bundle" / RECORD).is_file():
        chosen = read_record(run / "bundle").get("metrics", {}).get("default", {}).get("variant")
        variants = [chosen] if chosen in variants else variants
    eight = [name for name in variants if name.startswith("int8")] or variants
    return [folder / f"{name}.onnx" for name in eight[-1:]]
