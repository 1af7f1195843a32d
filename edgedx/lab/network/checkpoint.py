"""Models and training state as safetensors and JSON: atomic, exact, never pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from edgedx.core.errors import CheckpointError
from edgedx.core.files import read_json, sha256_bytes, sha256_file, write_bytes, write_json
from edgedx.lab.run.card import CARD, WEIGHTS, ModelCard

from .backbone import build_model
from .column_head import with_columns


@dataclass
class Checkpoint:
    """A model with its card."""

    model: nn.Module
    card: ModelCard


def save_checkpoint(folder: Path, model: nn.Module, card: ModelCard) -> None:
    """Write both files durably; the card, which holds the hash of the weights, comes last."""
    from safetensors.torch import save

    data = save({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()})
    write_bytes(folder / WEIGHTS, data)
    write_json(folder / CARD, card.model_copy(update={"sha256": sha256_bytes(data)}).model_dump(mode="json"))


def load_checkpoint(folder: Path | str, *, dropout: float = 0.0) -> Checkpoint:
    """Build the model of a folder, pruned as it was, with its weights, in eval mode.

    Parameters
    ----------
    dropout : float
        Before the classifier, for models that are trained on.

    Raises
    ------
    CheckpointError
        Not a checkpoint, of another version, or its two files do not belong together.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / CARD).is_file():
        raise CheckpointError(
            f"{folder} is no checkpoint: {CARD} is missing", next_step="give the folder that `edgedx finetune` printed"
        )
    try:
        card = ModelCard.model_validate(read_json(folder / CARD))
    except ValidationError as error:
        raise CheckpointError(f"{folder / CARD}: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error
    if sha256_file(folder / WEIGHTS) != card.sha256:
        raise CheckpointError(
            f"{folder}: {WEIGHTS} is damaged, or is not the file that {CARD} describes",
            next_step="restore the folder from a copy, or make the stage again with --overwrite",
        )
    model = build_model(card.backbone, len(card.task.classes), card.preprocess, dropout=dropout)
    if card.pruning:
        from .pruned import replay

        replay(model, card.pruning, card.preprocess)
    model = with_columns(model, card.columns, len(card.task.classes))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: {WEIGHTS} does not fit the model that {CARD} describes") from error
    return Checkpoint(model.eval(), card)


def save_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a training state as one safetensors file whose header carries `facts` as JSON; atomic."""
    from safetensors.torch import save

    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_bytes(path, save(plain, metadata={"facts": json.dumps(facts)}))


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote.

    Raises
    ------
    CheckpointError
        Damaged.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as stream:
            facts = json.loads((stream.metadata() or {})["facts"])
            return {key: stream.get_tensor(key) for key in stream.keys()}, facts  # noqa: SIM118 - not a dict
    except Exception as error:  # safetensors raises its own class, and json and KeyError join it
        raise CheckpointError(f"{path} is damaged: {error}", next_step="start over with --overwrite") from error


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors and JSON facts."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                numbers[f"{index}.{key}"] = value
    return tensors, numbers


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Put back what `pack_optimizer` took; the groups' settings stay those of `optimizer`."""
    state: dict[int, dict[str, Any]] = {}
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            like = parameters[int(index)]
            # Fused optimizers go through memory, not through places: a moment lies as its parameter does.
            laid_out = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
            state.setdefault(int(index), {})[name] = laid_out
    for key, number in numbers.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = number
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
