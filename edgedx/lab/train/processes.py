"""The processes that ``torchrun`` starts: all of them train, one of them writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def _state():  # type: ignore[no-untyped-def]
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def is_main() -> bool:
    """Whether this process writes files, judges and talks; alone, every process does."""
    return bool(_state().is_main_process)


@contextmanager
def main_first() -> Iterator[None]:
    """The main process does the body, then the others, who find what it wrote."""
    with _state().main_process_first():
        yield


def wait_for_all() -> None:
    """Return when all processes are here: what the main one wrote before is then there for the others."""
    _state().wait_for_everyone()
