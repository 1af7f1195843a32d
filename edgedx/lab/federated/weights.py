"""Which tensors of a model travel, and how they become Flower's arrays and again tensors.

Flower keeps an array as the bytes of numpy's .npy format, written and read with ``allow_pickle=False``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor, nn

from edgedx.core.settings.recipe_federated import Federated

_COUNTER = "num_batches_tracked"
"""Of a batch-norm layer; nothing is computed from it."""
_HEADER = 4096
"""Bytes of a .npy file beside its numbers, at most."""


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """All weights and statistics by name, without counters."""
    return {name: value for name, value in model.state_dict().items() if not name.endswith(_COUNTER)}


def local_names(model: nn.Module, settings: Federated) -> set[str]:
    """What stays at its site: batch-norm layers with FedBN; all running statistics where changes are measured by a
    norm, which they would drown, or get noise, which would make a variance negative."""
    local: set[str] = set()
    if settings.method == "fedbn":
        for prefix, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                local |= {f"{prefix}.{name}" for name in module.state_dict()}
    if settings.clip_norm:
        local |= {name for name, _ in model.named_buffers()}
    return local & set(tensors_of(model))


def shared_names(model: nn.Module, settings: Federated) -> list[str]:
    """What travels in every round, in the model's order."""
    local = local_names(model, settings)
    return [name for name in tensors_of(model) if name not in local]


def to_record(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    """Tensors as Flower's arrays, float32."""
    return ArrayRecord({name: Array(_numpy(value)) for name, value in tensors.items()})


def from_record(record: ArrayRecord) -> dict[str, Tensor]:
    """Flower's arrays as tensors; check them by `problem_of` first."""
    return {name: torch.from_numpy(np.array(array.numpy(), np.float32)) for name, array in record.items()}


def load_into(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors into a model; those not named stay as they are."""
    state = model.state_dict()
    with torch.no_grad():
        for name, value in tensors.items():
            state[name].copy_(value)


def problem_of(record: ArrayRecord, like: Mapping[str, tuple[int, ...]]) -> str | None:
    """Why arrays from elsewhere are no weights of this model; None where they are.

    Nothing is read into memory before its header says that it is as large as it should be.
    """
    if list(record) != list(like):
        return "other tensors than the model has"
    for name, shape in like.items():
        try:
            if len(record[name].data) > 4 * int(np.prod(shape, dtype=np.int64)) + _HEADER:
                return f"{name}: more bytes than the tensor has"
            said, dtype = _header(record[name].data)
            if said != shape or dtype != np.float32:
                return f"{name}: {dtype} of shape {said}, not float32 of {shape}"
            if not np.isfinite(record[name].numpy()).all():
                return f"{name}: not a finite number"
        except (ValueError, TypeError, EOFError, OSError, SyntaxError):
            return f"{name}: cannot be read"
    return None


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes, for `problem_of`."""
    return {name: tuple(value.shape) for name, value in tensors.items()}


def _header(data: bytes) -> tuple[tuple[int, ...], np.dtype]:
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not the first version of .npy")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return shape, dtype


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().float().contiguous().numpy()
