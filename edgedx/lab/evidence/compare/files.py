"""A comparison on disk: JSON, Markdown and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedx.core.files import write_json, write_text

from .pairs import ModelComparison

REPORT, WORDS, PICTURE = "comparison.json", "comparison.md", "comparison.png"


def report_of(comparison: ModelComparison) -> dict[str, Any]:
    """What ``comparison.json`` holds: figures, tests, and ``sentences`` in plain words."""
    from .words import sentences

    return {"schema_version": 1, "sentences": sentences(comparison), **comparison.to_dict()}


def write_comparison(comparison: ModelComparison, folder: Path) -> list[Path]:
    """Write JSON, Markdown and picture into `folder` and return their paths."""
    from edgedx.lab.run.plots import save_figure

    from .plots import comparison_figure
    from .words import markdown

    written = [folder / REPORT, folder / WORDS, folder / PICTURE]
    save_figure(comparison_figure(comparison), written[2])
    write_text(written[1], markdown(comparison))
    write_json(written[0], report_of(comparison))
    return written
