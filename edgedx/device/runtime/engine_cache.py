"""Engines that were built on this machine, kept until something they depend on changes.

    ROOT/engines/<key>.engine     one JSON line that says what it is, then the engine as TensorRT serialized it
    ROOT/engines/timing-*.cache   what the builder measured, for the next build
    ROOT/engines/choices.json     by model: accelerator and level, where `edgedx engine build` was given any

An engine is bound to model, GPU, TensorRT and settings; the file's name is a hash of them all. It is a cache and never
the truth: whatever is wrong with a file, the engine is built again. A file that changed on disk is not deserialized.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError
from edgedx.core.files import (
    atomic_write,
    canonical_json,
    read_json,
    safe_name,
    sha256_bytes,
    storage_error,
    write_json,
)

from .engine_settings import BuildReport
from .tensorrt_library import Flavour

FORMAT = 1
_MAX_HEADER = 1 << 16
_CHOICES = "choices.json"


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on.

    Attributes
    ----------
    runtime, runtime_version : str
        Flavour and version of TensorRT.
    gpu, sm : str
        Name of the GPU and its compute capability.
    dla : int, optional
        Number of the deep learning accelerator.
    """

    model_sha256: str
    precision: str
    runtime: Flavour
    runtime_version: str
    gpu: str
    sm: str
    max_batch: int
    dla: int | None = None
    level: int | None = None

    def digest(self) -> str:
        """Name of the file."""
        return sha256_bytes(canonical_json(asdict(self)))[:32]


@dataclass(frozen=True)
class Choice:
    """How a model's engine is built and run here: accelerator (None: the GPU) and builder level (None: its own)."""

    dla: int | None = None
    level: int | None = None


@dataclass(frozen=True)
class CacheLookup:
    """Outcome of a look into the cache: the engine, or why there is none."""

    plan: bytes | None
    why: str


class EngineCache:
    """A folder of engines. It is made when something is stored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: EngineKey) -> Path:
        """Where an engine would be."""
        return self.folder / f"{key.digest()}.engine"

    def load(self, key: EngineKey) -> CacheLookup:
        """The engine, if it is whole and is what its name says."""
        try:
            data = self.path(key).read_bytes()
        except FileNotFoundError:
            return CacheLookup(None, self._why_absent(key))
        except OSError as error:
            return CacheLookup(None, f"the cached engine cannot be read: {error.strerror}")
        header, plan = _split(data)
        if reason := judge_file(header, plan, key):
            return CacheLookup(None, reason)
        return CacheLookup(plan, "")

    def store(self, key: EngineKey, plan: bytes, report: BuildReport) -> None:
        """Write an engine durably, and remove those of the same model that nothing will ask for again.

        Raises
        ------
        StorageError
            Disk full, or not writable.
        """
        header = {"format": FORMAT, "key": asdict(key), "sha256": sha256_bytes(plan), "report": asdict(report)}
        with atomic_write(self.path(key)) as stream:
            stream.write(canonical_json(header) + b"\n")
            stream.write(plan)
        for path, other in self.entries():
            if other is None or is_superseded(other, key):
                path.unlink(missing_ok=True)

    def drop(self, key: EngineKey) -> None:
        """Forget an engine that TensorRT refused."""
        self.path(key).unlink(missing_ok=True)

    def entries(self) -> Iterator[tuple[Path, EngineKey | None]]:
        """Every engine file with its key; None where the file is not one of ours or is damaged."""
        for path in sorted(self.folder.glob("*.engine")):
            try:
                with path.open("rb") as stream:
                    header, _ = _split(stream.readline(_MAX_HEADER))
                key = EngineKey(**header["key"]) if header is not None else None
            except (OSError, TypeError, KeyError):
                key = None
            yield path, key

    def timing(self, key: EngineKey) -> Path:
        """File of the builder's measurements for this GPU and version."""
        name = safe_name(f"timing-{key.runtime}-{key.runtime_version}-{key.gpu}-{key.sm}")
        return self.folder / f"{name}.cache"

    def choice(self, model_sha256: str) -> Choice:
        """What was chosen for a model."""
        try:
            return Choice(**self._choices()[model_sha256])
        except (KeyError, TypeError):
            return Choice()

    def choose(self, model_sha256: str, choice: Choice) -> None:
        """Remember how a model is to be run from now on."""
        write_json(self.folder / _CHOICES, {**self._choices(), model_sha256: asdict(choice)})

    def _choices(self) -> dict[str, Any]:
        try:
            found = read_json(self.folder / _CHOICES)
        except InputOutputError:  # nothing was chosen
            return {}
        return found if isinstance(found, dict) else {}

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Hold the folder: of two processes that want the same engine, the second waits and finds it.

        Raises
        ------
        StorageError
            The folder cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise storage_error(self.folder, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for left in self.folder.glob(".building-*"):  # of a build that was killed
                _remove(left)
            yield
        finally:
            os.close(handle)

    def _why_absent(self, key: EngineKey) -> str:
        others = [other for _, other in self.entries() if other is not None and other.model_sha256 == key.model_sha256]
        return explain_absence(key, others)


def judge_file(header: dict[str, Any] | None, plan: bytes, key: EngineKey) -> str:
    """Why a cached file must not be used; empty where it may be. A pure decision."""
    if header is None or header.get("format") != FORMAT:
        return "the cached engine is damaged, or of another edgedx"
    if header.get("key") != asdict(key):
        return "the cached engine is another one's"
    if header.get("sha256") != sha256_bytes(plan):
        return "the cached engine was changed on disk"
    return ""


def explain_absence(key: EngineKey, others: list[EngineKey]) -> str:
    """Why there is no engine, told by what differs from those of the same model. A pure decision."""
    words = {
        "runtime": "another TensorRT",
        "runtime_version": "another TensorRT",
        "gpu": "another GPU",
        "sm": "another GPU",
        "precision": "another precision",
        "dla": "another accelerator",
        "max_batch": "another batch",
        "level": "another optimization level",
    }
    if not others:
        return "no engine was built yet"
    nearest: list[str] = min((_differences(key, other) for other in others), key=lambda names: len(names))
    return f"the engine that is there was built for {', '.join(dict.fromkeys(words[name] for name in nearest))}"


def _differences(key: EngineKey, other: EngineKey) -> list[str]:
    mine, theirs = asdict(key), asdict(other)
    return [name for name, value in mine.items() if theirs[name] != value]


def is_superseded(other: EngineKey, new: EngineKey) -> bool:
    """Whether `new` takes the place of `other`: the same model and use, another TensorRT, GPU or level."""
    return other != new and (other.model_sha256, other.precision, other.dla, other.max_batch) == (
        new.model_sha256,
        new.precision,
        new.dla,
        new.max_batch,
    )


def _split(data: bytes) -> tuple[dict[str, Any] | None, bytes]:
    line, newline, plan = data.partition(b"\n")
    if not newline or len(line) > _MAX_HEADER:
        return None, b""
    try:
        header = json.loads(line)
    except ValueError:
        return None, b""
    return (header if isinstance(header, dict) else None), plan


def _remove(folder: Path) -> None:
    for path in folder.glob("*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
