"""What a stopped command left behind, told to who stopped it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .stage import BEGUN, RECORD

_MOST_HEADER = 64 << 20
"""Longest header of a state that is read: its names, and the history of a training."""


def kept(run: Path) -> str:
    """Finished stages of a run, and how far the trainings came whose stage is begun: ``data is finished; ...``."""
    finished = [path.parent.relative_to(run).as_posix() for path in sorted(run.glob(f"**/{RECORD}"))]
    said = [f"finished and kept: {', '.join(finished)}"] if finished else []
    for begun in sorted(run.glob(f"**/{BEGUN}")):
        stage = begun.parent
        states = [(path, facts) for path, facts in _states(stage) if "history" in facts]
        if not states:
            said.append(f"{stage.relative_to(run).as_posix()}: begun, no training state yet")
            continue
        path, facts = max(states, key=lambda one: one[0].stat().st_mtime_ns)  # the one that was at work
        said.append(f"{stage.relative_to(run).as_posix()}: {_progress(facts)} kept in {path.relative_to(run)}")
    return "; ".join(said) or "nothing was finished"


def begun(*stages: Path) -> bool:
    """Whether a stage at or below these folders is begun and not finished: it is continued, not overwritten again."""
    return any(next(folder.glob(f"**/{BEGUN}"), None) for folder in stages)


def _progress(facts: dict[str, Any]) -> str:
    if not facts["history"]:
        return f"{facts['step']} steps are"
    last = facts["history"][-1]
    return f"epoch {last['epoch']:g} of {last['phase']!r} is" if last["epoch"] else f"{facts['step']} steps are"


def _states(stage: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Training states below a stage, with their facts (see `lab.network.checkpoint.save_state`); no tensor is read."""
    for path in stage.glob("**/*.safetensors"):
        try:
            with path.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(min(length, _MOST_HEADER)))
            facts = json.loads(header.get("__metadata__", {}).get("facts", "{}"))
        except (OSError, ValueError, struct.error):  # half a file of a full disk: the command itself will say so
            continue
        if isinstance(facts, dict):
            yield path, facts
