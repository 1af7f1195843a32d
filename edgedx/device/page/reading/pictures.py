"""Pictures of images for the page, drawn by a disposable process and kept for a while in bounded memory.

No disk is written: what is drawn holds patients. The process is started for the first picture, and ended when nobody
has looked for a minute.
"""

from __future__ import annotations

import contextlib
import json
import struct
import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock, Timer
from typing import Any, Literal

from edgedx.core.errors import ImageError
from edgedx.device.machine.child import Child, module_command

View = Literal["original", "full", "model", "map"]
VIEWS: tuple[View, ...] = ("original", "full", "model", "map")
"""As the header's window shows it; all grey values; as the model saw it; that, with where the model looked."""
_WORKER = "edgedx.device.page.reading.picture_worker"
_MOST_BYTES = 64 << 20  # of one picture
_START_SECONDS, _SECONDS, _IDLE_SECONDS = 60.0, 40.0, 60.0
_MEMORY_MB = 2048
_BROKEN = (BrokenPipeError, EOFError, ValueError, TypeError, KeyError, OSError, struct.error)


class Pictures:
    """Draws one at a time, and keeps the last ones.

    Parameters
    ----------
    kept : int
        Bytes of PNG that are kept in memory.
    """

    def __init__(self, kept: int = 12 << 20) -> None:
        self._kept = kept
        self._pictures: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = Lock()
        self._child: Child | None = None
        self._timer: Timer | None = None

    def draw(
        self,
        key: str,
        view: View,
        path: Path,
        sha256: str,
        *,
        frame: int | None = None,
        bundle: Path | None = None,
        digest: str = "",
        variant: str | None = None,
    ) -> bytes:
        """One picture as PNG.

        Parameters
        ----------
        key : str
            Of the result.
        path : Path
            Of the file, whose content must have the hash `sha256`.
        frame : int, optional
            Its number, from 1, of several.
        bundle : Path, optional
            File or device root, for what the model saw; it must have the digest `digest`.
        variant : str, optional
            Of the bundle, that answered.

        Raises
        ------
        ImageError
            A code of `core.codes`; ``GONE``: the file is not there, or holds another content; ``NO_BUNDLE``: the bundle
            that answered is not installed; ``NO_MAP``: the model has none.
        """
        with self._lock:
            if (key, view) in self._pictures:
                self._pictures.move_to_end((key, view))
                return self._pictures[key, view]
            request = {
                "path": str(path.absolute()), "sha256": sha256, "view": view, "frame": frame,
                "bundle": None if bundle is None else str(bundle.absolute()), "digest": digest, "variant": variant,
            }  # fmt: skip
            picture = self._ask(request)
            self._keep((key, view), picture)
            self._rest_later()
            return picture

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._end()

    def _ask(self, request: dict[str, Any]) -> bytes:
        try:
            child = self._warm()
            data = json.dumps(request).encode()
            child.send(struct.pack(">I", len(data)) + data)
            header, picture = _message(child, time.monotonic() + _SECONDS)
        except TimeoutError:
            self._end(kill=True)
            raise ImageError("DECODER_TIMEOUT", "drawing the picture took too long") from None
        except _BROKEN:
            self._end(kill=True)
            raise ImageError("DECODER_CRASH", "the process that draws pictures died") from None
        if header.get("ok") is not True:
            code = str(header.get("code", "DECODE_FAILED"))
            if code == "DECODER_MEMORY":
                self._end()
            raise ImageError(code, "the picture cannot be drawn")
        return picture

    def _warm(self) -> Child:
        if self._child is None or not self._child.is_running():
            self._end()
            self._child = Child(module_command(_WORKER, json.dumps({"memory_mb": _MEMORY_MB})))
            header, _ = _message(self._child, time.monotonic() + _START_SECONDS)
            if header.get("ready") is not True:
                raise ValueError("no greeting")
        return self._child

    def _keep(self, name: tuple[str, str], picture: bytes) -> None:
        self._pictures[name] = picture
        while sum(map(len, self._pictures.values())) > self._kept and len(self._pictures) > 1:
            self._pictures.popitem(last=False)

    def _rest_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = Timer(_IDLE_SECONDS, self._rest)
        self._timer.daemon = True
        self._timer.start()

    def _rest(self) -> None:
        with self._lock:
            self._end()
            self._pictures.clear()

    def _end(self, *, kill: bool = False) -> None:
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(OSError):
                if kill:
                    child.kill()
            child.end()


def _message(child: Child, deadline: float) -> tuple[dict[str, Any], bytes]:
    """The child has read hostile input: what it says is checked, too."""
    (length,) = struct.unpack(">I", child.receive_exactly(4, deadline))
    if length > 1 << 16:
        raise ValueError("message too large")
    header = json.loads(child.receive_exactly(length, deadline))
    count = int(header.get("bytes", 0))
    if not 0 <= count <= _MOST_BYTES:
        raise ValueError("picture too large")
    picture = child.receive_exactly(count, deadline)
    if header.get("ok") is True and not picture.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("no PNG")
    return header, picture
