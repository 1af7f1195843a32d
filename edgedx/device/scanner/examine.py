"""One batch of received files to results: decode, ask whether the model was made for it, infer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import ImageError
from edgedx.core.result import Reason, Result
from edgedx.device.decode.accept import acceptable
from edgedx.device.decode.decoder import DecodedCanvas, Decoder
from edgedx.device.runtime.doubt import refusal as out_of_distribution
from edgedx.device.runtime.predict import Answer, Predictor

from .decide import after_failure, interrupted_too_often
from .facts import Item
from .record import record
from .sinks import Finding

log = logging.getLogger("edgedx.scan")


@dataclass(frozen=True)
class Retry:
    """Not now: try again after `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Opened:
    """A decoded file that the model was made for."""

    item: Item
    name: str
    found: DecodedCanvas


@dataclass(frozen=True)
class Examiner:
    """Bundle, active model and decoder, joined; no ledger and no output.

    Parameters
    ----------
    variant : str
        Name of the model that runs, for the results.
    settle : float
        Seconds of the stability gate.
    """

    bundle: Bundle
    variant: str
    predictor: Predictor
    decoder: Decoder
    settle: float

    def open(self, item: Item, path: Path, name: str, *, suspect: bool) -> Opened | Result | Retry:
        """Decode one file.

        Parameters
        ----------
        item : Item
            As it was before this attempt was claimed.
        suspect : bool
            Whether an earlier scanner ended while it had claimed this file.

        Raises
        ------
        FileChanged
            The content is another now, or the file is gone.
        """
        attempts = item.attempts + 1
        try:
            if suspect and interrupted_too_often(item.attempts):
                raise ImageError("INTERRUPTED", f"the scanner ended {item.attempts} times while it read this file")
            found = self.decoder.decode(path, item.sha256)
        except ImageError as error:
            status, wait = after_failure(error.code, attempts, self.settle)
            if status == "retry":
                log.warning("seq=%d key=%s attempt=%d code=%s", item.sequence, item.key[:12], attempts, error.code)
                return Retry(wait)
            reason = Reason(code=error.code, message=error.message)
            return record(self.bundle, self.variant, self._provider, item, name, status, reason=reason)
        return self.admit(item, name, found)

    def admit(self, item: Item, name: str, found: DecodedCanvas) -> Opened | Result:
        """Ask whether the model was made for what was decoded."""
        refusal = acceptable(self.bundle.manifest.accept, found.meta, found.height, found.width)
        if refusal is None:
            return Opened(item, name, found)
        return record(self.bundle, self.variant, self._provider, item, name, "refused", found=found, reason=refusal)

    def answer(self, batch: Sequence[Opened]) -> list[Finding]:
        """Ask the model about a batch."""
        if not batch:
            return []
        try:
            canvases = np.stack([one.found.canvas for one in batch])
            answers = self.predictor.predict_canvases(canvases, [one.found.meta for one in batch])
        except FloatingPointError as error:
            if len(batch) > 1:  # which of them was it?
                return [finding for one in batch for finding in self.answer([one])]
            (one,) = batch
            reason = Reason(code="NOT_A_NUMBER", message=str(error))
            result = record(self.bundle, self.variant, self._provider, one.item, one.name, "quarantined",
                            found=one.found, reason=reason)  # fmt: skip
            return [Finding(result, one.found.canvas)]
        return [self._judged(one, answer) for one, answer in zip(batch, answers, strict=True)]

    def _judged(self, one: Opened, answer: Answer) -> Finding:
        found = answer.unlikeness
        refused = self.bundle.manifest.accept.ood == "refuse" and found is not None and found.out_of_distribution
        result = record(
            self.bundle, self.variant, self._provider, one.item, one.name, "refused" if refused else "done",
            found=one.found, answer=answer, reason=out_of_distribution(found) if refused and found else None,
        )  # fmt: skip
        return Finding(result, one.found.canvas, answer.shown)

    @property
    def _provider(self) -> str:
        return self.predictor.runner.provider
