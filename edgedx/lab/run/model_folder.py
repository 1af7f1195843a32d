"""A trained model of a run: its card, its figures, and the logits that it gave when it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edgedx.core.errors import CheckpointError, FileGone
from edgedx.core.files import atomic_write, read_json, write_json

from .card import CARD, WEIGHTS, ModelCard
from .renew import renewal
from .stage import RECORD, read_record

METRICS, LOGITS = "metrics.json", "logits.npz"


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a checkpoint: ``model.safetensors`` and ``model.json``, and what was measured of it."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def finished(self) -> bool:
        """Whether its stage ended."""
        return (self.path / RECORD).is_file()

    @property
    def record(self) -> dict[str, Any]:
        """The stage's record (`stage.read_record`)."""
        return read_record(self.path)

    @property
    def card(self) -> ModelCard:
        """The model's card, without loading the model.

        Raises
        ------
        CheckpointError
            It is not there, or of another version.
        """
        if not (self.path / CARD).is_file():
            raise CheckpointError(
                f"{self.path} holds no model: no {CARD}",
                next_step=(renewal(self.path / CARD) if self.path.is_dir() else None) or "edgedx finetune RECIPE",
            )
        try:
            return ModelCard.model_validate(read_json(self.path / CARD))
        except ValidationError as error:
            raise CheckpointError(
                f"{self.path / CARD} is not a model card of this version", next_step="fine-tune again"
            ) from error

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures and history of its training; empty where none were kept."""
        path = self.path / METRICS
        metrics: dict[str, Any] = read_json(path) if path.is_file() else {}
        return metrics

    @property
    def weight_bytes(self) -> int:
        """Size of its weights."""
        if not (self.path / WEIGHTS).is_file():
            raise FileGone(self.path / WEIGHTS)
        return (self.path / WEIGHTS).stat().st_size

    def logits(self, *splits: str, digest: str | None = None) -> dict[str, NDArray[np.float32]]:
        """Logits (N, K) by split (see `read_logits`).

        Parameters
        ----------
        digest : str, optional
            Of the data set that they must be of.

        Raises
        ------
        CheckpointError
            The model was judged on another data set, or its logits cannot be read.
        """
        if digest is not None:
            check_data(self.path, self.record, digest)
        return read_logits(self.path, *splits)


def check_data(folder: Path, record: Mapping[str, Any], digest: str) -> None:
    """Refuse a stage that read another data set than the one called `digest`."""
    known = str(record["inputs"].get("data"))
    if known != digest:
        raise CheckpointError(
            f"{folder} is of data set {known[:12]}, the run's is {digest[:12]}: no comparison",
            next_step="make the stage again, or restore the run's folder data",
        )


def save_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Keep what was measured of the models in a folder."""
    write_json(folder / METRICS, metrics)


def save_logits(folder: Path, logits: Mapping[str, NDArray[Any]]) -> None:
    """Keep logits by split in ``logits.npz``; later stages compare themselves with them."""
    with atomic_write(folder / LOGITS) as stream:
        np.savez(stream, **logits)  # type: ignore[arg-type]


def read_logits(folder: Path, *splits: str) -> dict[str, NDArray[np.float32]]:
    """Logits (N, K) by split, as `save_logits` kept them; of all splits unless some are named.

    Raises
    ------
    CheckpointError
        They are missing, damaged or of other splits.
    """
    try:
        with np.load(folder / LOGITS, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in splits or archive.files}
    except FileNotFoundError as error:
        raise FileGone(folder / LOGITS) from error
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{folder / LOGITS} cannot be read: {error}",
            next_step=renewal(folder / LOGITS) or "make the stage again, with --overwrite",
        ) from error
