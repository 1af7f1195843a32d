"""A run folder's stages: each with its record beside its output, not repeated when nothing changed."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgedx._version import __version__
from edgedx.core.errors import AlreadyExists, InputOutputError, UsageError
from edgedx.core.files import canonical_json, read_json, sha256_bytes, write_json
from edgedx.core.log import LOG, log_into, note
from edgedx.core.settings.recipe import Recipe

from .renew import renewal

RECORD, BEGUN = "stage.json", ".begun.json"
_DEVICES, _OF_DEVICE = "devices", ("variants", "bundle")  # of a run; the stages of one device lie a folder deeper
_LIBRARIES = ("torch", "timm", "torch-pruning", "onnx", "onnxruntime", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Stage:
    """One step of the flow.

    Parameters
    ----------
    folder : Path
        Where its output and ``stage.json`` go, e.g. ``runs/x/teacher``.
    settings : mapping
        The part of the recipe that decides this stage's output.
    inputs : mapping of str to str
        Digests of what it reads.
    """

    folder: Path
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Hash of settings and inputs: equal means that the output would be the same."""
        return sha256_bytes(canonical_json({"settings": self.settings, "inputs": self.inputs}))

    def record(self) -> dict[str, Any] | None:
        """The record of a finished run of this very stage, or None."""
        path = self.folder / RECORD
        if not path.is_file():
            return None
        record = read_json(path)
        return record if record.get("fingerprint") == self.fingerprint else None

    def run(
        self,
        work: Callable[[], dict[str, Any]],
        *,
        overwrite: bool = False,
        resume: bool = False,
        restartable: bool = False,
    ) -> dict[str, Any]:
        """Do `work` unless it is done; write and return the record.

        Parameters
        ----------
        work : callable
            Writes the output into `folder` and returns metrics for the record.
        overwrite : bool
            Do it again, or replace the output of another recipe.
        resume : bool
            Continue what was interrupted.
        restartable : bool
            The work is short and starts from finished inputs: an interrupted run is simply done again.

        Raises
        ------
        AlreadyExists
            The folder holds the output of other settings or inputs.
        UsageError
            An interrupted run with the same settings is there, and neither `resume` nor `overwrite` was given.
        """
        with log_into(_run_folder(self.folder) / LOG):
            done = self.record()
            if done is not None and not overwrite:
                note(f"{self.folder.name}: nothing changed, the finished stage is used")
                return {**done, "reused": True}
            self._check_folder(overwrite, resume, restartable)
            return {**self._work(work), "reused": False}

    def _work(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        begun = self.folder / BEGUN
        write_json(begun, {"fingerprint": self.fingerprint, "settings": self.settings, "inputs": self.inputs})
        (self.folder / RECORD).unlink(missing_ok=True)  # killed while overwriting, the folder must not look finished
        note(f"{self.folder.name}: begun by edgedx {__version__} on {machine()}")
        start = time.monotonic()
        metrics = work()
        record = {
            "schema_version": 1,
            "stage": self.folder.name,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "inputs": self.inputs,
            "versions": versions(),
            "machine": machine(),
            "metrics": metrics,
            "wall_seconds": round(time.monotonic() - start, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        write_json(self.folder / RECORD, record)
        begun.unlink(missing_ok=True)
        note(f"{self.folder.name}: finished in {record['wall_seconds']} s")
        return record

    def _check_folder(self, overwrite: bool, resume: bool, restartable: bool) -> None:
        begun = self.folder / BEGUN
        if (self.folder / RECORD).is_file() and not overwrite:
            other = self._other(read_json(self.folder / RECORD))
            raise AlreadyExists(
                f"{self.folder} holds the result of other settings or inputs{other}",
                next_step="give the values of then, or repeat with --overwrite; or work in another run",
            )
        # Refused before it wrote anything (a leak, no weights), a run leaves nothing that could be resumed or lost.
        left = begun.is_file() and any(path != begun for path in self.folder.iterdir())
        if left and not (overwrite or restartable):
            of_then = read_json(begun)
            if of_then["fingerprint"] != self.fingerprint:
                other = self._other(of_then)
                if resume:
                    raise UsageError(
                        f"{self.folder} was begun with other settings or data, so it cannot be resumed{other}",
                        next_step="give the settings of then, or start over with --overwrite",
                    )
                raise AlreadyExists(
                    f"{self.folder} holds an unfinished run of other settings{other}", next_step="use --overwrite"
                )
            if not resume:
                raise UsageError(
                    f"{self.folder} holds an unfinished run", next_step="continue it with --resume, or use --overwrite"
                )

    def _other(self, before: Mapping[str, Any]) -> str:
        """What differs from the settings and inputs of `before`, a record: ``: train.epochs was 10 and is 12``."""
        old, new = (_flat(one) for one in (before, {"settings": self.settings, "inputs": self.inputs}))
        keys = [key for key in {**old, **new} if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
        if not old or not keys:  # begun by an edgedx that kept no settings there
            return ""
        told = [f"{key} was {old.get(key, _ABSENT)} and is {new.get(key, _ABSENT)}" for key in keys[:_MOST_KEYS]]
        more = f"; and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
        return f": {'; '.join(told)}{more}"


_ABSENT, _MOST_KEYS, _DIGEST = "absent", 4, 64
"""What a missing key is called, how many keys are named, and the length of a SHA-256 in hex."""


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    """Settings by dotted key, and inputs by their names: texts to be read by people."""
    texts: dict[str, str] = {}

    def walk(value: Any, key: str) -> None:
        if isinstance(value, Mapping) and value:
            for name, one in value.items():
                walk(one, f"{key}.{name}" if key else str(name))
        else:
            texts[key] = json.dumps(value, ensure_ascii=False, sort_keys=True)

    walk(record.get("settings", {}), "")
    for name, digest in record.get("inputs", {}).items():
        shown = f"{digest[:12]}..." if len(digest) == _DIGEST else digest
        texts[f"the input {name!r}"] = shown
    texts.pop("", None)
    return texts


def _run_folder(stage: Path) -> Path:
    """The run, search or fold that a stage's folder lies in: ``runs/x/teacher``, ``runs/x/devices/PROFILE/bundle``.

    A stage inside another's folder (a student's control) belongs to the run of that one.
    """
    above = list(stage.absolute().parents)
    while len(above) > 1 and any((above[0] / name).is_file() for name in (RECORD, BEGUN)):
        above.pop(0)
    of_device = len(above) > 2 and above[1].name == _DEVICES and stage.name in _OF_DEVICE
    return above[2] if of_device else above[0]


def stage_settings(recipe: Recipe, *sections: str) -> dict[str, Any]:
    """Sections of a recipe that decide what a trained or compressed model is, and the operating points it stores.

    The rest of the section gate decides whether a model ships, not what it is: a new budget repeats no training.
    """
    # Left out where there are none: runs from before there were columns are current.
    columns = {"columns": True} if recipe.columns.use else {}
    settings = recipe.model_dump(mode="json", include={**dict.fromkeys(sections, True), **columns, "gate": {"points"}})
    settings.get("train", {}).pop("log_to", None)  # where curves are shown changes no weight
    return settings


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a finished stage.

    Raises
    ------
    InputOutputError
        The stage is not there or not finished.
    """
    if not (folder / RECORD).is_file():
        raise InputOutputError(
            f"{folder} is not a finished stage: no {RECORD}",
            next_step=(renewal(folder / RECORD) if folder.is_dir() else None)
            or "run the stage before it first: finetune, then compress, then deploy",
        )
    record = read_json(folder / RECORD)
    assert isinstance(record, dict)
    return record


def versions() -> dict[str, str]:
    """Versions of edgedx, Python and the libraries that decide results."""
    versions = {"edgedx": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def machine() -> str:
    """Processor and core count, in words; no host name."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            name = next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} threads"
