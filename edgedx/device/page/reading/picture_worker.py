"""The disposable process that draws pictures for the page (``python -m edgedx.device.page.reading.picture_worker``).

It opens what strangers wrote with the scanner's own decoder, under the same confinement, and gives PNG: neither the
page's process nor a browser ever parses an image of the inbox. Requests and answers are as in `decode.worker`.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import EdgedxError, ImageError, InputOutputError
from edgedx.core.files import sha256_bytes
from edgedx.core.heatmap import overlay, png
from edgedx.core.image import Image
from edgedx.core.preprocess import Canvas, PreprocessSpec, canvas
from edgedx.device.decode.accept import facts_of
from edgedx.device.decode.worker import confine, keep_freed_memory, receive, send

LONGEST = 1600
"""Pixels of the longer side of an original as it is sent."""


def serve(settings: dict[str, Any]) -> None:
    """The child's loop."""
    confine(int(settings["memory_mb"]) << 20)
    trim = keep_freed_memory()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints must not reach the protocol
    cv2.setNumThreads(1)
    requests = os.fdopen(0, "rb", buffering=0)
    send(out, {"ready": True})
    while len(size := receive(requests, 4, trim)) == 4:
        request = json.loads(receive(requests, struct.unpack(">I", size)[0], trim))
        send(out, *_draw(request))


def _draw(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        return {"ok": True}, _picture(**request)
    except ImageError as error:
        return {"code": error.code}, b""
    except InputOutputError:
        return {"code": "GONE"}, b""
    except MemoryError:
        return {"code": "DECODER_MEMORY"}, b""
    except EdgedxError:
        return {"code": "NO_BUNDLE"}, b""
    except Exception as error:  # a reader's bug: its message may hold a header's values
        return {"code": "DECODE_FAILED", "kind": type(error).__name__}, b""


def _picture(
    path: str, sha256: str, view: str, frame: int | None, bundle: str | None, digest: str, variant: str | None
) -> bytes:
    from edgedx.dicom.decoding.refusals import MAX_DECODED_BYTES
    from edgedx.dicom.reading.open import open_image
    from edgedx.dicom.reading.source import read_bytes

    content = read_bytes(Path(path), MAX_DECODED_BYTES)
    if sha256_bytes(content) != sha256:
        raise InputOutputError("another content")
    image = open_image(content, frames="middle", frame=None if frame is None else frame - 1).image
    del content
    if view in ("original", "full"):
        return _png(canvas(image, _whole(image, "voi" if view == "original" else "minmax")))
    if bundle is None:
        raise EdgedxError("no bundle")
    if view == "map":
        return _map(image, bundle, digest, variant)
    return _png(canvas(image, _bundle(bundle, digest).manifest.preprocess))


def _whole(image: Image, window: Any) -> PreprocessSpec:
    """The image in its own shape, as large as a screen shows it."""
    height, width = image.pixels.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(8, round(height * scale)), max(8, round(width * scale)))
    colour = "rgb" if image.pixels.ndim == 3 else "grey"
    channels = 3 if colour == "rgb" else 1
    return PreprocessSpec(
        size=size, colour=colour, window=window, bits=8, mean=(0.5,) * channels, std=(0.25,) * channels
    )


def _map(image: Image, path: str, digest: str, variant: str | None) -> bytes:
    predictor = _predictor(path, digest, variant)
    if not predictor.shows:
        raise ImageError("NO_MAP", "this model has no class activation maps")
    spec = predictor.manifest.preprocess
    seen = canvas(image, spec)
    answer = predictor.predict_canvases(seen[None], [facts_of(image, spec)])[0]
    if answer.shown is None:
        raise ImageError("NO_MAP", "this model has no class activation maps")
    caption = f"{answer.shown.name} {answer.prediction.probabilities[answer.shown.name]:.2f}"
    return png(overlay(seen, answer.shown.evidence, caption=caption))


@cache
def _bundle(path: str, digest: str) -> Any:
    from edgedx.device.install.active import open_any

    opened = open_any(Path(path))
    if opened.digest != digest:  # an image is shown as the model saw it that answered, or not at all
        raise EdgedxError("another bundle is installed now")
    return opened


@cache
def _predictor(path: str, digest: str, variant: str | None) -> Any:
    from edgedx.device.runtime.open_runner import open_runner
    from edgedx.device.runtime.predict import Predictor

    bundle = _bundle(path, digest)
    name = variant if variant in bundle.manifest.variants else bundle.manifest.default_variant
    runner = open_runner(bundle, variant=name, threads=1).__enter__()  # it lives as long as this process
    return Predictor(bundle, runner, variant=name, show=True)


def _png(seen: Canvas) -> bytes:
    light: NDArray[np.uint8] = (
        seen if seen.dtype == np.uint8 else np.rint(seen.astype(np.float32) / 257).astype(np.uint8)
    )
    done, data = cv2.imencode(".png", np.ascontiguousarray(light[..., ::-1] if light.ndim == 3 else light))
    assert done
    return bytes(data.tobytes())


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
