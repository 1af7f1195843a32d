"""Which models a call of `edgedx explain` means: of a run its teacher, its student and what ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgedx.lab.judge.subject import Subject, open_subject
from edgedx.lab.run.run import Run


def open_models(
    paths: Sequence[Path],
    *,
    run: Path | None = None,
    profile: str | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> list[Subject]:
    """Open all models, a run as its own; the first is the reference.

    Parameters
    ----------
    profile : str, optional
        Device profile, where a run serves several.

    Raises
    ------
    UsageError
        A run that holds no model yet.
    """
    models = [model for path in paths for model in (Run(path).models(profile) if Run(path).exists else [path])]
    return [open_subject(path, run=run, threads=threads, device=device) for path in models]
