"""What the scanner knows about one image, as the `Result` that is published."""

from __future__ import annotations

import os
import time
from typing import Literal

from edgedx._version import __version__
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.result import Reason, Result, Runtime, Source
from edgedx.device.decode.accept import header_checks
from edgedx.device.decode.decoder import DecodedCanvas
from edgedx.device.runtime.predict import Answer

from .facts import Item

RELEASED = 1_790_000_000.0  # September 2026: a clock before this was reset by a dead battery

Status = Literal["done", "refused", "quarantined"]


def record(
    bundle: Bundle,
    variant: str,
    provider: str,
    item: Item,
    name: str,
    status: Status,
    *,
    found: DecodedCanvas | None = None,
    answer: Answer | None = None,
    reason: Reason | None = None,
) -> Result:
    """Compose a result.

    Parameters
    ----------
    name : str
        Path relative to the inbox, as `os.fsdecode` gives it; bytes that are not UTF-8 are shown as ``\\xNN``.
    found : DecodedCanvas, optional
        Where the file could be decoded.
    answer : Answer, optional
        Where the model was asked. Of what is refused all the same, the prediction is left out: nobody should use it.
    reason : Reason, optional
        Why there is no prediction.
    """
    source = Source(name=os.fsencode(name).decode(errors="backslashreplace"), sha256=item.sha256, bytes=item.bytes)
    runtime = Runtime(
        bundle=bundle.digest,
        model=f"{bundle.manifest.name} {bundle.manifest.version}",
        variant=variant,
        provider=provider,
        edgedx=__version__,
    )
    if found is not None:
        source = source.model_copy(
            update={
                "format": found.format,
                "sop_instance_uid": found.sop_instance_uid,
                "transfer_syntax": found.transfer_syntax,
                "decoder": found.decoder,
            }
        )
        runtime = runtime.model_copy(
            update={"decode_ms": round(found.decode_ms, 3), "preprocess_ms": round(found.preprocess_ms, 3)}
        )
    if answer is not None:
        runtime = runtime.model_copy(update={"infer_ms": round(answer.infer_ms, 3)})
    return Result(
        key=item.key,
        status=status,
        source=source,
        prediction=answer.prediction if answer is not None and status == "done" else None,
        prediction_set=answer.prediction_set if answer is not None and status == "done" else None,
        unlikeness=None if answer is None else answer.unlikeness,
        columns=None if answer is None else answer.told,
        header=None if found is None else header_checks(bundle.manifest.accept, found.meta),
        reason=reason,
        runtime=runtime,
        sequence=item.sequence,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        clock_trusted=time.time() >= RELEASED,
    )
