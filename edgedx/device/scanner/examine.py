"""One batch of received files to results: decode, ask whether the model was made for it, infer."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgedx._version import __version__
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import ImageError
from edgedx.core.result import Reason, Result, Runtime, SourceFile
from edgedx.device.decode.accept import acceptable, header_checks
from edgedx.device.decode.decoder import DecodedCanvas, Decoder
from edgedx.device.runtime.doubt import refusal as out_of_distribution
from edgedx.device.runtime.frames import ObjectAnswer, answer_frames
from edgedx.device.runtime.predict import ImageAnswer, Predictor

from .decide import INCOMPLETE_CODES, after_failure, interrupted_too_often
from .facts import Item
from .inbox import LARGEST
from .sinks import ScannedImage

log = logging.getLogger("edgedx.scan")

RELEASED = 1_790_000_000.0  # September 2026: a clock before this was reset by a dead battery

Status = Literal["done", "refused", "quarantined"]


@dataclass(frozen=True)
class Retry:
    """Not now: try again after `seconds`.

    Attributes
    ----------
    counts : bool
        Whether the attempt is held against the file: not where it only ends early, and its writer may have paused.
    """

    seconds: float
    counts: bool = True


@dataclass(frozen=True)
class AdmittedImage:
    """A decoded file that the model was made for."""

    item: Item
    name: str
    decoded: DecodedCanvas


@dataclass(frozen=True)
class Examiner:
    """Bundle, active model and decoder, joined; no ledger and no output.

    Parameters
    ----------
    variant : str
        Name of the model that runs, for the results.
    settle : float
        Seconds of the stability gate.
    patience : callable
        Gives the seconds for which a file that ends early is looked at again (see `after_failure`).

    Attributes
    ----------
    found_by : dict
        By key of what is being worked on: digests of patient ID and accession number, where they are wanted.
    """

    bundle: Bundle
    variant: str
    predictor: Predictor
    decoder: Decoder
    settle: float
    patience: Callable[[], float] = lambda: 0.0
    found_by: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    _incomplete: dict[str, int] = field(default_factory=dict)  # attempts by key; one thread at a time has a key

    def open(self, item: Item, path: Path, name: str, *, suspect: bool) -> AdmittedImage | Result | Retry:
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
            if item.bytes > LARGEST:  # by its size, before a byte is read
                raise ImageError("TOO_LARGE", f"the file has {item.bytes} bytes, the budget is {LARGEST}")
            decoded = self.decoder.decode(path, item.sha256)
        except ImageError as error:
            incomplete = error.code in INCOMPLETE_CODES and self.patience() > 0
            if incomplete:
                attempts = self._incomplete[item.key] = self._incomplete.get(item.key, 0) + 1
            status, wait = after_failure(error.code, attempts, self.settle, self.patience())
            if status == "retry":
                log.warning("seq=%d key=%s attempt=%d code=%s", item.sequence, item.key[:12], attempts, error.code)
                return Retry(wait, counts=not incomplete)
            self._incomplete.pop(item.key, None)
            reason = Reason(code=error.code, message=error.message)
            return record(self.bundle, self.variant, self._provider, item, name, status, reason=reason)
        return self.admit(item, name, decoded)

    def admit(self, item: Item, name: str, decoded: DecodedCanvas) -> AdmittedImage | Result:
        """Ask whether the model was made for what was decoded."""
        if decoded.found_by:
            self.found_by[item.key] = decoded.found_by
        for number, one in enumerate(decoded.frames, 1):
            refusal = acceptable(self.bundle.manifest.accept, one.meta, one.height, one.width)
            if refusal is None:
                continue
            if decoded.rest:
                where = f"frame {number} of {len(decoded.frames)}: {refusal.message}"
                refusal = Reason(code=refusal.code, message=where)
            return record(
                self.bundle, self.variant, self._provider, item, name, "refused", decoded=decoded, reason=refusal,
                frame=number,
            )  # fmt: skip
        return AdmittedImage(item, name, decoded)

    def answer(self, batch: Sequence[AdmittedImage]) -> list[ScannedImage]:
        """Ask the model about a batch."""
        if not batch:
            return []
        if any(one.decoded.rest for one in batch):
            return [self._answer_frames(one) if one.decoded.rest else self.answer([one])[0] for one in batch]
        try:
            canvases = np.stack([one.decoded.canvas for one in batch])
            answers = self.predictor.predict_canvases(canvases, [one.decoded.meta for one in batch])
        except FloatingPointError as error:
            if len(batch) > 1:  # which of them was it?
                return [reading for one in batch for reading in self.answer([one])]
            return [self._not_a_number(batch[0], error)]
        return [self._judged(one, answer) for one, answer in zip(batch, answers, strict=True)]

    def _answer_frames(self, one: AdmittedImage) -> ScannedImage:
        frames = one.decoded.frames
        try:
            found = answer_frames(self.predictor, [each.canvas for each in frames], [each.meta for each in frames])
        except FloatingPointError as error:
            return self._not_a_number(one, error)
        return self._judged(one, found.answer, found)

    def _not_a_number(self, one: AdmittedImage, error: FloatingPointError) -> ScannedImage:
        reason = Reason(code="NOT_A_NUMBER", message=str(error))
        result = record(self.bundle, self.variant, self._provider, one.item, one.name, "quarantined",
                        decoded=one.decoded, reason=reason)  # fmt: skip
        return ScannedImage(result, one.decoded.canvas)

    def _judged(self, one: AdmittedImage, answer: ImageAnswer, whole: ObjectAnswer | None = None) -> ScannedImage:
        unlikeness, frames = answer.unlikeness, one.decoded.frames
        refuses = self.bundle.manifest.accept.ood == "refuse"
        refused = refuses and unlikeness is not None and unlikeness.out_of_distribution
        reason = out_of_distribution(unlikeness) if refused and unlikeness else None
        place = None if whole is None else whole.strangest if refused else whole.place
        if reason is not None and place is not None:
            where = f"frame {place + 1} of {len(frames)}, the most unlike one: {reason.message}"
            reason = Reason(code=reason.code, message=where)
        result = record(
            self.bundle, self.variant, self._provider, one.item, one.name, "refused" if refused else "done",
            decoded=one.decoded, answer=answer, reason=reason, frame=None if place is None else place + 1, whole=whole,
        )  # fmt: skip
        read = frames[place or 0]
        return ScannedImage(result, read.canvas, answer.shown, read.meta)

    @property
    def _provider(self) -> str:
        return self.predictor.runner.provider


def record(
    bundle: Bundle,
    variant: str,
    provider: str,
    item: Item,
    name: str,
    status: Status,
    *,
    decoded: DecodedCanvas | None = None,
    answer: ImageAnswer | None = None,
    reason: Reason | None = None,
    frame: int | None = None,
    whole: ObjectAnswer | None = None,
) -> Result:
    """Compose a result.

    Parameters
    ----------
    name : str
        Path relative to the inbox, as `os.fsdecode` gives it; bytes that are not UTF-8 are shown as ``\\xNN``.
    decoded : DecodedCanvas, optional
        Where the file could be decoded.
    answer : ImageAnswer, optional
        Where the model was asked. Of what is refused all the same, the prediction is left out: nobody should use it.
    reason : Reason, optional
        Why there is no prediction.
    frame : int, optional
        Number of the frame that decides, where each was read.
    whole : ObjectAnswer, optional
        What `answer` is of, where each frame was answered.
    """
    of_source: dict[str, Any] = {}
    spent: dict[str, float] = {}
    if decoded is not None:
        of_source = {
            "format": decoded.format,
            "sop_instance_uid": decoded.sop_instance_uid,
            "transfer_syntax": decoded.transfer_syntax,
            "decoder": decoded.decoder,
        }
        for each in ("decode_ms", "preprocess_ms"):
            spent[each] = round(sum(getattr(one, each) for one in decoded.frames), 3)
        if not decoded.rest:
            frame = _frame_read(decoded)
    if answer is not None:
        spent["infer_ms"] = round(answer.infer_ms, 3)
    source = SourceFile(
        name=os.fsencode(name).decode(errors="backslashreplace"), sha256=item.sha256, bytes=item.bytes, **of_source
    )
    runtime = Runtime(
        bundle=bundle.digest,
        model=f"{bundle.manifest.name} {bundle.manifest.version}",
        variant=variant,
        provider=provider,
        edgedx=__version__,
        **spent,
    )
    return Result(
        key=item.key,
        status=status,
        source=source,
        prediction=answer.prediction if answer is not None and status == "done" else None,
        prediction_set=answer.prediction_set if answer is not None and status == "done" else None,
        unlikeness=None if answer is None else answer.unlikeness,
        **_of_frames(frame, whole, answered=status == "done"),
        columns=None if answer is None else answer.told,
        header=None if decoded is None else header_checks(bundle.manifest.accept, decoded.meta),
        reason=reason,
        runtime=runtime,
        sequence=item.sequence,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        clock_trusted=time.time() >= RELEASED,
    )


def _frame_read(decoded: DecodedCanvas) -> int | None:
    """Number of the one frame that was read of several; what the decoder says of hostile input is not trusted."""
    said = decoded.meta.get("Frame", "")
    return int(said) if said.isascii() and said.isdigit() and 0 < len(said) < 10 else None


def _of_frames(frame: int | None, whole: ObjectAnswer | None, *, answered: bool) -> dict[str, Any]:
    """The fields of a result about frames. Of what is refused all the same, predictions are left out."""
    if whole is None:
        return {"frame": frame}
    if not answered:
        bare: dict[str, Any] = {"label": None, "probabilities": {}, "prediction_set": None}
        return {"frame": frame, "frames": [one.model_copy(update=bare) for one in whole.frames]}
    by_finding = whole.by_finding and {name: index + 1 for name, index in whole.by_finding.items()}
    return {"frame": frame, "frame_rule": whole.rule, "frame_by_finding": by_finding, "frames": whole.frames}
