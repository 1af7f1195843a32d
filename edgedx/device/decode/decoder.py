"""Decoding in a disposable process: image libraries crash, hang and eat memory; the scanner must not.

The parent's half; the child's is `decode_worker`. The parent passes a path; the child returns a small canvas, so
large pixel arrays never cross the pipe and the parent's memory stays flat. Messages are a 4-byte length, JSON, and the
canvas' bytes; nothing is pickled. Where each frame of an object is asked for there is such a message for each.
"""

from __future__ import annotations

import errno
import json
import re
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.errors import ImageError, MissingError
from edgedx.core.preprocess import Canvas, PreprocessSpec
from edgedx.core.settings.accept import FramePolicy
from edgedx.core.stats.frames import most_frames
from edgedx.device.machine.child import Child, describe_exit, module_command

_MAX_MESSAGE = 256 << 20
_START_SECONDS = 120.0  # a small board that reads Python from an SD card
_FRAME_SECONDS = 0.5
"""More time for each frame of an object: 300 of them stay well below the service's watchdog."""
_DEATH_SECONDS = 5.0
_STARTS = 3
"""A child that is killed while it starts (the kernel's out-of-memory killer picks it first) is started again."""
_BROKEN = (BrokenPipeError, EOFError, ValueError, TypeError, KeyError, struct.error)


class DecoderNotStarting(MissingError):
    """No decoder process can be had now; no file's fault, and it may pass."""


class FileChanged(Exception):
    """The file is not the one that was received: it was replaced or removed in between."""


@dataclass(frozen=True)
class DecodedCanvas:
    """What the child returns.

    Attributes
    ----------
    canvas : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16
        At network size.
    sha256 : str
        Of the content that was read, hex.
    meta : dict of str
        Facts that decide whether the image is accepted (see `accept.facts_of`).
    height, width : int
        Of the source.
    decode_ms, preprocess_ms : float
        Milliseconds.
    found_by : tuple of bytes
        Digests of patient ID and accession number (`search`), where there is a key.
    rest : tuple of DecodedCanvas
        The frames behind this one, where each was asked for.
    """

    canvas: Canvas
    sha256: str
    height: int
    width: int
    meta: dict[str, str]
    format: str
    transfer_syntax: str | None
    decoder: str
    sop_instance_uid: str | None
    decode_ms: float
    preprocess_ms: float
    found_by: tuple[bytes, ...] = ()
    rest: tuple[DecodedCanvas, ...] = ()

    @property
    def frames(self) -> tuple[DecodedCanvas, ...]:
        """Every frame that was read, in order; mostly one."""
        return (self, *self.rest)


class Decoder:
    """A warm child process, replaced when it dies, hangs, or has read `lifetime` files.

    Parameters
    ----------
    spec : PreprocessSpec
    seconds : float
        Longest time for one file; one each of whose frames is read has half a second more for each.
    memory_mb : int
        Address space of the child, MiB.
    frames : str
        What to do with a DICOM file of several frames.
    search_key : Path, optional
        Of the file with the key for digests of patient ID and accession number, where that is wanted (`search`).
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
        frames: FramePolicy = "refuse",
        search_key: Path | None = None,
        lifetime: int = 2000,
        command: Sequence[str] | None = None,
    ) -> None:
        self._spec, self._seconds, self._memory_mb, self._lifetime = spec, seconds, memory_mb, lifetime
        self._frames = frames
        self._search_key = None if search_key is None else str(search_key.absolute())
        self._command = list(command or module_command("edgedx.device.decode.worker"))
        self._child: Child | None = None
        self._served = 0

    def warm(self) -> None:
        """Make sure that a child waits for work. Call it before a file is claimed: its failure is no file's fault.

        Raises
        ------
        DecoderNotStarting
            The child does not start, at three attempts where it was killed or there was no memory for it.
        """
        if self._child is not None and self._child.is_running():
            return
        self._bury()
        for attempt in range(1, _STARTS + 1):
            reason, may_pass = self._start()
            if reason is None:
                self._served = 0
                return
            if not may_pass or attempt == _STARTS:
                raise DecoderNotStarting(
                    f"the decoder process does not start ({reason})",
                    next_step=f"run `edgedx doctor`; is there memory for it? It may take {self._memory_mb} MiB",
                )

    def _start(self) -> tuple[str | None, bool]:
        """Start the child; returns why it did not start, if so, and whether another attempt may succeed."""
        try:
            settings = {
                "spec": self._spec.model_dump(mode="json"),
                "memory_mb": self._memory_mb,
                "frames": self._frames,
                "search_key": self._search_key,
            }
            self._child = Child([*self._command, json.dumps(settings)])
            header, _ = self._message(time.monotonic() + _START_SECONDS)
            if header.get("ready") is not True:
                raise ValueError("no greeting")
        except TimeoutError:
            self.close()
            return "TimeoutError", False
        except OSError as error:
            self.close()
            return type(error).__name__, error.errno in (errno.ENOMEM, errno.EAGAIN)
        except _BROKEN:
            ending = self._bury()
            return ending, ending.startswith("signal")
        return None, False

    def decode(self, path: Path, sha256: str | None) -> DecodedCanvas:
        """Read, decode and preprocess a file whose content must have this hash, where one is given.

        Raises
        ------
        ImageError
            With a code of `core.codes.Code`.
        FileChanged
            The content is another now, or the file is gone.
        DecoderNotStarting
            See `warm`.
        """
        self.warm()
        seconds, found, count = self._seconds, list[DecodedCanvas](), 1
        deadline = time.monotonic() + seconds
        header: dict[str, Any] = {}
        try:
            self._send({"path": str(path.absolute()), "sha256": sha256})
            while len(found) < count:
                header, pixels = self._message(deadline)
                if "code" in header or "changed" in header:
                    break
                found.append(_parse(header, pixels, self._spec))
                if len(found) == 1:
                    count = self._count(header)
                    seconds += _FRAME_SECONDS * (count - 1)
                    deadline += _FRAME_SECONDS * (count - 1)
        except TimeoutError:
            self.close()
            where = f" ({len(found)} of {count} frames were read)" if count > 1 else ""
            raise ImageError("DECODER_TIMEOUT", f"decoding took longer than {seconds:.0f} s{where}") from None
        except _BROKEN:
            where = f" at frame {len(found) + 1} of {count}" if count > 1 else ""
            raise ImageError("DECODER_CRASH", f"the decoder process died ({self._bury()}){where}") from None
        code, message = str(header.get("code", "")), str(header.get("message", ""))
        self._served += 1
        if self._served >= self._lifetime or code == "DECODER_MEMORY":
            self.close()
        if "changed" in header:
            raise FileChanged
        if len(found) < count:
            raise ImageError(code, message)
        return replace(found[0], rest=tuple(found[1:]))

    def _count(self, header: dict[str, Any]) -> int:
        """How many frames the child says that it sends."""
        count = int(header.get("frames", 1))
        if not 1 <= count <= (most_frames(self._spec.canvas_bytes) if self._frames == "each" else 1):
            raise ValueError("not a number of frames")
        return count

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._child is not None:
            self._child.kill()
            self._bury()

    @property
    def pid(self) -> int | None:
        """Process id of the child, where one is alive."""
        return None if self._child is None else self._child.pid

    def _bury(self) -> str:
        child, self._child = self._child, None
        return "gone" if child is None else describe_exit(child.end(_DEATH_SECONDS)[0])

    def _send(self, request: dict[str, str | None]) -> None:
        assert self._child is not None
        data = json.dumps(request).encode()
        self._child.send(struct.pack(">I", len(data)) + data)

    def _message(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        (length,) = struct.unpack(">I", self._receive(4, deadline))
        header = json.loads(self._receive(length, deadline))
        if not isinstance(header, dict):
            raise ValueError("not an object")
        return header, self._receive(int(header.get("bytes", 0)), deadline)

    def _receive(self, count: int, deadline: float) -> bytes:
        if not 0 <= count <= _MAX_MESSAGE:
            raise ValueError("message too large")
        assert self._child is not None
        return self._child.receive_exactly(count, deadline)


def _digest(text: Any) -> str:
    if not isinstance(text, str) or not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("not a hash")
    return text


def _parse(header: dict[str, Any], pixels: bytes, spec: PreprocessSpec) -> DecodedCanvas:
    """The child has read hostile input: what it says is checked, too."""
    shape = spec.size if spec.channels == 1 else (*spec.size, spec.channels)
    array = np.frombuffer(pixels, np.uint8 if spec.bits == 8 else np.uint16).reshape(shape)
    return DecodedCanvas(
        canvas=array,
        sha256=_digest(header["sha256"]),
        height=int(header["height"]),
        width=int(header["width"]),
        meta={str(key): str(value) for key, value in dict(header["meta"]).items()},
        format=str(header["format"]),
        transfer_syntax=None if header["transfer_syntax"] is None else str(header["transfer_syntax"]),
        decoder=str(header["decoder"]),
        sop_instance_uid=None if header["sop_instance_uid"] is None else str(header["sop_instance_uid"]),
        decode_ms=float(header["decode_ms"]),
        preprocess_ms=float(header["preprocess_ms"]),
        found_by=tuple(bytes.fromhex(str(one)[:32]) for one in list(header.get("found_by", ()))[:2]),
    )
