"""The disposable process that opens what strangers wrote (``python -m edgedx.device.decode.worker SETTINGS``).

It reads requests from stdin and answers on stdout, see `decode`. It may die of any file; nothing but that file's
attempt is lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgedx.core.errors import ImageError, InputOutputError
from edgedx.core.files import sha256_bytes
from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.core.settings.accept import FramePolicy
from edgedx.core.stats.frames import most_frames

from .search import digests, read_search_key

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_IDLE_SECONDS = 1.0


def serve(settings: dict[str, Any]) -> None:
    """The child's loop: requests from stdin, answers to what was stdout, until the parent goes away."""
    confine(int(settings["memory_mb"]) << 20)
    trim = keep_freed_memory()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints must not reach the protocol
    import cv2

    from edgedx.dicom.reading import raster, read  # noqa: F401  # now, so that the first file is as quick as the others

    cv2.setNumThreads(1)
    spec = PreprocessSpec.model_validate(settings["spec"])
    requests = os.fdopen(0, "rb", buffering=0)
    send(out, {"ready": True})
    while len(size := receive(requests, 4, trim)) == 4:
        request = json.loads(receive(requests, struct.unpack(">I", size)[0], trim))
        for header, pixels in _decode(Path(request["path"]), request["sha256"], spec, settings):
            send(out, header, pixels)


def confine(memory: int) -> None:
    """Little memory, no core dump, first in line for the kernel, and no life after the parent."""
    import ctypes
    import resource
    import signal

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold pixels and names
    os.nice(5)  # who writes results waits for the disk again and again, and not for a decoder each time it is back
    for number in (signal.SIGINT, signal.SIGTERM):  # a service manager sends them to all; the parent decides
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def keep_freed_memory() -> Callable[[], object]:
    """Have glibc keep what is freed, for the next file; returns what gives it back.

    Getting the same pages again and again took two fifths of a decoder's time (2048 x 2048 pixels of 12 bits).
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] != "glibc":
        return lambda: None
    trim_threshold, mmap_threshold = -1, -3  # malloc.h; 32 MiB is the most that the second may be
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 32 << 20)
    libc.mallopt(trim_threshold, 1 << 30)
    return lambda: libc.malloc_trim(0)


def receive(requests: IO[bytes], count: int, trim: Callable[[], object]) -> bytes:
    """Exactly `count` bytes, or what there was when the parent went away. Who waits long has no use for memory."""
    if not select.select([requests], [], [], _IDLE_SECONDS)[0]:
        trim()
    data = b""
    while len(data) < count and (block := requests.read(count - len(data))):
        data += block
    return data


def send(out: IO[bytes], header: dict[str, Any], pixels: bytes = b"") -> None:
    data = json.dumps({**header, "bytes": len(pixels)}).encode()
    out.write(struct.pack(">I", len(data)) + data + pixels)
    out.flush()


def _decode(
    path: Path, sha256: str | None, spec: PreprocessSpec, settings: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """One answer; of an object each of whose frames is asked for, one each, which says how many there are."""
    try:
        key = read_search_key(Path(settings["search_key"])) if settings.get("search_key") else None
        yield from _canvases(path, sha256, spec, settings["frames"], key)
    except ImageError as error:
        yield {"code": error.code, "message": error.message}, b""
    except InputOutputError:
        yield {"changed": True}, b""
    except MemoryError:
        yield {"code": "DECODER_MEMORY", "message": "decoding takes more memory than the decoder is allowed"}, b""
    except Exception as error:  # a reader's bug: its message may hold a header's values
        yield {"code": "DECODE_FAILED", "message": f"the reader failed ({type(error).__name__})"}, b""


def _canvases(
    path: Path, sha256: str | None, spec: PreprocessSpec, frames: FramePolicy, key: bytes | None
) -> Iterator[tuple[dict[str, Any], bytes]]:
    from edgedx.dicom.decoding.refusals import MAX_DECODED_BYTES
    from edgedx.dicom.identifiers import identifiers
    from edgedx.dicom.reading.open import open_frames, open_image
    from edgedx.dicom.reading.source import read_bytes

    from .accept import facts_of

    begun = time.perf_counter()
    content = read_bytes(path, MAX_DECODED_BYTES)
    digest = sha256_bytes(content)
    if sha256 not in (None, digest):
        yield {"changed": True}, b""
        return
    each = frames == "each"
    images = (
        open_frames(content, most=most_frames(spec.canvas_bytes))
        if each
        else iter([open_image(content, frames=frames)])
    )
    found_by = [one.hex() for one in digests(key, identifiers(content))] if key else []
    del content  # preprocessing needs the room
    for opened in images:
        decoded = time.perf_counter()
        small = np.ascontiguousarray(canvas(opened.image, spec))
        height, width = opened.image.pixels.shape[:2]
        header = {
            "sha256": digest,
            "height": height,
            "width": width,
            "meta": facts_of(opened.image, spec),
            "format": opened.format,
            "transfer_syntax": opened.transfer_syntax,
            "decoder": opened.decoder,
            "sop_instance_uid": opened.sop_instance_uid,
            "frames": opened.frames if each else 1,
            "decode_ms": 1e3 * (decoded - begun),
            "found_by": found_by,
            "preprocess_ms": 1e3 * (time.perf_counter() - decoded),
        }
        yield header, small.tobytes()
        begun = time.perf_counter()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
