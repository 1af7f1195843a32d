"""Decoding in a disposable process: image libraries crash, hang and eat memory; the scanner must not.

The parent passes a path; the child returns a small canvas, so large pixel arrays never cross the pipe and the
parent's memory stays flat. Messages are a 4-byte length, JSON, and the canvas' bytes; nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ImageError
from ..core.preprocess import Canvas, PreprocessSpec

_MAX_MESSAGE = 256 << 20


class FileChanged(Exception):
    """The file is not the one that was received: it was replaced or removed in between."""


@dataclass(frozen=True)
class DecodedCanvas:
    """What the child returns.

    Attributes
    ----------
    canvas : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16
        At network size.
    height, width : int
        Of the source.
    decode_ms, preprocess_ms : float
        Milliseconds.
    """

    canvas: Canvas
    height: int
    width: int
    meta: dict[str, str]
    format: str
    transfer_syntax: str | None
    decoder: str
    sop_instance_uid: str | None
    decode_ms: float
    preprocess_ms: float


class Decoder:
    """A warm child process, replaced when it dies, hangs, or has read `lifetime` files.

    Parameters
    ----------
    spec : PreprocessSpec
    seconds : float
        Longest time for one file.
    memory_mb : int
        Address space of the child, MiB.
    lifetime : int
        Files after which a fresh child takes over, against slow leaks.
    command : sequence of str, optional
        The child; given by tests.
    """

    def __init__(
        self,
        spec: PreprocessSpec,
        *,
        seconds: float = 30.0,
        memory_mb: int = 2048,
        lifetime: int = 2000,
        command: Sequence[str] | None = None,
    ) -> None:
        self._spec, self._seconds, self._memory_mb, self._lifetime = spec, seconds, memory_mb, lifetime
        self._command = list(command or [sys.executable, "-m", "edgedx.device.decode"])
        self._child: subprocess.Popen[bytes] | None = None
        self._served = 0

    def decode(self, path: Path, sha256: str) -> DecodedCanvas:
        """Read, decode and preprocess a file whose content must have this hash.

        Raises
        ------
        ImageError
            With a code of `dicom.refusals.Code`, or DECODER_CRASH, DECODER_TIMEOUT, DECODER_MEMORY.
        FileChanged
            The content is another now, or the file is gone.
        """
        child = self._start()
        request = json.dumps({"path": str(path), "sha256": sha256}).encode()
        deadline = time.monotonic() + self._seconds
        try:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(struct.pack(">I", len(request)) + request)
            child.stdin.flush()
            header = json.loads(self._receive(child, self._length(child, deadline), deadline))
            pixels = self._receive(child, int(header.get("bytes", 0)), deadline)
        except TimeoutError:
            self.close()
            raise ImageError("DECODER_TIMEOUT", f"decoding took longer than {self._seconds:.0f} s") from None
        except (BrokenPipeError, EOFError, ValueError, struct.error):
            code = self._bury()
            raise ImageError("DECODER_CRASH", f"the decoder process died ({code})") from None
        self._served += 1
        if self._served >= self._lifetime or header.get("code") == "DECODER_MEMORY":
            self.close()
        if header.get("changed"):
            raise FileChanged
        if "code" in header:
            raise ImageError(header["code"], header["message"])
        array = np.frombuffer(pixels, header.pop("dtype")).reshape(header.pop("shape"))
        header.pop("bytes")
        return DecodedCanvas(canvas=array, **header)

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._child is not None:
            self._child.kill()
            self._bury()

    @property
    def pid(self) -> int | None:
        """Process id of the child, where one is alive."""
        return None if self._child is None else self._child.pid

    def _start(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        if self._child is not None:
            self._bury()
        # Threads of BLAS and OpenCV would count against the memory limit and slow inference beside them.
        environment = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG", "PYTHONPATH", "HOME"}}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        settings = json.dumps({"spec": self._spec.model_dump(mode="json"), "memory_mb": self._memory_mb})
        self._child = subprocess.Popen(
            [*self._command, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders print parts of headers there
            env=environment,
            start_new_session=True,  # Ctrl-C is for the scanner, which finishes its batch
        )
        self._served = 0
        return self._child

    def _bury(self) -> str:
        child, self._child = self._child, None
        if child is None:
            return "gone"
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        code = child.wait()
        return f"signal {-code}" if code < 0 else f"exit {code}"

    def _length(self, child: subprocess.Popen[bytes], deadline: float) -> int:
        (length,) = struct.unpack(">I", self._receive(child, 4, deadline))
        return int(length)

    def _receive(self, child: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
        if not 0 <= count <= _MAX_MESSAGE:
            raise ValueError("message too large")
        assert child.stdout is not None
        data, handle = bytearray(), child.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            while len(data) < count:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                block = os.read(handle, count - len(data))
                if not block:
                    raise EOFError
                data += block
        return bytes(data)


def serve(settings: dict[str, Any]) -> None:
    """The child's loop: requests from stdin, answers to what was stdout, until the parent goes away."""
    import resource

    limit = int(settings["memory_mb"]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints must not reach the protocol
    import cv2

    cv2.setNumThreads(1)
    spec = PreprocessSpec.model_validate(settings["spec"])
    requests = sys.stdin.buffer
    while len(size := requests.read(4)) == 4:
        request = json.loads(requests.read(struct.unpack(">I", size)[0]))
        header, pixels = _answer(Path(request["path"]), request["sha256"], spec)
        data = json.dumps(header).encode()
        out.write(struct.pack(">I", len(data)) + data + pixels)
        out.flush()


def _answer(path: Path, sha256: str, spec: PreprocessSpec) -> tuple[dict[str, Any], bytes]:
    from ..core.preprocess import canvas
    from ..dicom.open import open_image

    begun = time.perf_counter()
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            return {"changed": True}, b""
        found = open_image(content)
        decoded = time.perf_counter()
        small = np.ascontiguousarray(canvas(found.image, spec))
    except OSError:
        return {"changed": True}, b""
    except ImageError as error:
        return {"code": error.code, "message": error.message}, b""
    except MemoryError:
        return {"code": "DECODER_MEMORY", "message": "decoding takes more memory than the decoder is allowed"}, b""
    height, width = found.image.pixels.shape[:2]
    header = {
        "dtype": small.dtype.str,
        "shape": list(small.shape),
        "bytes": small.nbytes,
        "height": height,
        "width": width,
        "meta": {str(key): str(value) for key, value in found.image.meta.items()},
        "format": found.format,
        "transfer_syntax": found.transfer_syntax,
        "decoder": found.decoder,
        "sop_instance_uid": found.sop_instance_uid,
        "decode_ms": 1e3 * (decoded - begun),
        "preprocess_ms": 1e3 * (time.perf_counter() - decoded),
    }
    return header, small.tobytes()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
