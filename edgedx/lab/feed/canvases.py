"""Canvases where the training runs: on the GPU where they fit, else streamed there in large blocks; no processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgedx.core.preprocess import Canvas
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.network.inputs import as_tensor

RESIDENT_SHARE = 0.4
"""Of the GPU's free memory: a data set up to that stays there, and leaves the rest to the training."""
BLOCK_BYTES = 256 << 20

Places = NDArray[np.int64]
"""Positions in the data set; those beyond it are of the images without labels."""


class Canvases(Protocol):
    """Gives batches of canvases on the training's device."""

    def batches(self, plan: Sequence[Places]) -> Iterator[Tensor]:
        """Canvases (n, H, W) or (n, H, W, 3) of each of `plan`, in order; uint8, or int16 with the bits of uint16."""
        ...


def canvases_for(parts: Sequence[Dataset], device: torch.device) -> Canvases:
    """Where the canvases of `parts`, one after another, should lie for training on `device`."""
    if device.type == "cpu":
        return InPlace(parts)
    free, _ = torch.cuda.mem_get_info(device)
    return OnDevice(parts, device) if _bytes(parts) <= RESIDENT_SHARE * free else Streamed(parts, device)


class InPlace:
    """On the CPU: read where they lie, in a file that the system keeps in memory."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = parts

    def batches(self, plan: Sequence[Places]) -> Iterator[Tensor]:
        """See `Canvases`."""
        for places in plan:
            yield as_tensor(_gather(self.parts, places))


class OnDevice:
    """All of them on the device; a batch is one indexing there."""

    def __init__(self, parts: Sequence[Dataset], device: torch.device) -> None:
        count, shape = sum(map(len, parts)), parts[0].canvases.shape[1:]
        per_block = max(1, BLOCK_BYTES // _bytes_of_one(parts))
        self.device = device
        self.kept = torch.empty((count, *shape), dtype=_kind(parts[0].canvases), device=device)
        for start in range(0, count, per_block):
            places = np.arange(start, min(count, start + per_block))
            self.kept[start : start + len(places)] = as_tensor(_gather(parts, places)).to(device)

    def batches(self, plan: Sequence[Places]) -> Iterator[Tensor]:
        """See `Canvases`."""
        if not plan:
            return
        every = sent(np.concatenate(plan), self.device)
        start = 0
        for places in plan:
            yield self.kept.index_select(0, every[start : start + len(places)])
            start += len(places)


class Streamed:
    """Too many for the device: a thread gathers the batches to come into page-locked memory, block after block."""

    def __init__(self, parts: Sequence[Dataset], device: torch.device, block_bytes: int = BLOCK_BYTES) -> None:
        self.parts, self.device = parts, device
        self.per_block = max(1, block_bytes // _bytes_of_one(parts))

    def batches(self, plan: Sequence[Places]) -> Iterator[Tensor]:
        """See `Canvases`."""
        blocks = list(self._blocks(plan))
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._load, blocks[0]) if blocks else None
            for number, block in enumerate(blocks):
                assert coming is not None
                loaded, copied = coming.result()
                if number + 1 < len(blocks):
                    coming = pool.submit(self._load, blocks[number + 1])
                if copied is not None:
                    current = torch.cuda.current_stream(self.device)
                    current.wait_event(copied)
                    loaded.record_stream(current)
                start = 0
                for places in block:
                    yield loaded[start : start + len(places)]
                    start += len(places)

    def _blocks(self, plan: Sequence[Places]) -> Iterator[list[Places]]:
        block: list[Places] = []
        held = 0
        for places in plan:
            if block and held + len(places) > self.per_block:
                yield block
                block, held = [], 0
            block.append(places)
            held += len(places)
        if block:
            yield block

    def _load(self, block: Sequence[Places]) -> tuple[Tensor, torch.cuda.Event | None]:
        gathered = as_tensor(_gather(self.parts, np.concatenate(block)))
        if self.device.type == "cpu":
            return gathered, None
        with torch.cuda.stream(torch.cuda.Stream(self.device)):
            loaded = gathered.pin_memory().to(self.device, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        return loaded, copied


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on `device`, without waiting for what the device still has to do."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _gather(parts: Sequence[Dataset], places: Places) -> Canvas:
    if len(parts) == 1:
        return np.take(parts[0].canvases, parts[0].rows[places], axis=0)
    out = np.empty((len(places), *parts[0].canvases.shape[1:]), parts[0].canvases.dtype)
    first = 0
    for part in parts:
        mine = (places >= first) & (places < first + len(part))
        out[mine] = np.take(part.canvases, part.rows[places[mine] - first], axis=0)
        first += len(part)
    return out


def _kind(canvases: Canvas) -> torch.dtype:
    return torch.int16 if canvases.dtype == np.uint16 else torch.uint8


def _bytes_of_one(parts: Sequence[Dataset]) -> int:
    canvases = parts[0].canvases
    return int(np.prod(canvases.shape[1:])) * canvases.dtype.itemsize


def _bytes(parts: Sequence[Dataset]) -> int:
    return sum(map(len, parts)) * _bytes_of_one(parts)
