"""Receiving by C-STORE, without a network: what is taken, what its file is called, and how much a peer may send."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from enum import IntEnum
from io import BytesIO
from threading import Lock

from pydicom import uid
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info

from edgedx.core.files import sha256_bytes
from edgedx.dicom.reading.pixels import decoders

MAX_PDU = 128 << 10
"""Offered to every peer: the longest P-DATA it may send (PS3.8 D.1)."""
MAX_DECLARED = 2 * MAX_PDU
"""Longest PDU of any kind; an association request with many contexts has about 80 KB."""
MAX_OBJECT = 128 << 20
MAX_LOAD = 384 << 20
"""Bytes in memory at a time, of all peers together."""
PDU_SECONDS, OBJECT_SECONDS = 30.0, 600.0

# Fixed, as all of the file meta information: the same object sent again gives the same bytes, after an update too.
_IMPLEMENTATION = ("2.25.99545052987480036006282081163111730854", "EDGEDX_RECEIVE_1")
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_SOP_INSTANCE = 0x00080018


class Status(IntEnum):
    """Answers to a C-STORE (PS3.4 B.2.3)."""

    TAKEN = 0x0000
    CLASS_NOT_TAKEN = 0x0122
    NO_SPACE = 0xA700
    NOT_WHAT_IT_SAYS = 0xA900
    NOT_UNDERSTOOD = 0xC000


class PeerRefused(OSError):
    """A peer sends more, or more slowly, than is allowed; its connection ends.

    Parameters
    ----------
    code : str
        Why, in upper-case words.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Load:
    """Bytes that all peers together hold in memory."""

    def __init__(self, limit: int = MAX_LOAD) -> None:
        self._limit, self._lock, self.bytes = limit, Lock(), 0

    def add(self, count: int) -> bool:
        """Count more bytes (or fewer); returns whether they are still few enough."""
        with self._lock:
            self.bytes += count
            return self.bytes <= self._limit


@dataclass
class Meter:
    """Watches what one peer sends, PDU by PDU (PS3.8 9.3), before anything is kept of it.

    The length that a PDU declares is judged at its sixth byte. What a peer sends between two answers is one object:
    we negotiate no asynchronous operations.

    Parameters
    ----------
    load : Load
        Shared by all peers.
    """

    load: Load
    max_declared: int = MAX_DECLARED
    max_object: int = MAX_OBJECT
    pdu_seconds: float = PDU_SECONDS
    object_seconds: float = OBJECT_SECONDS
    pending: int = 0
    _header: bytearray = field(default_factory=bytearray)
    _body: int = 0
    _pdu_begun: float | None = None
    _object_begun: float = 0.0

    def patience(self, now: float) -> float:
        """Seconds that the next bytes may take.

        Raises
        ------
        PeerRefused
            ``SLOW``.
        """
        begun = now if self._pdu_begun is None else self._pdu_begun
        ends = begun + self.pdu_seconds
        if self.pending:
            ends = min(ends, self._object_begun + self.object_seconds)
        if ends <= now:
            raise PeerRefused("SLOW")
        return ends - now

    def feed(self, data: bytes, now: float) -> None:
        """Count what arrived.

        Raises
        ------
        PeerRefused
            ``NOT_DICOM`` (no PDU type), ``PDU_TOO_LONG``, ``OBJECT_TOO_LARGE``, ``BUSY`` (all peers together).
        """
        if not self.pending:
            self._object_begun = now
        self.pending += len(data)
        if not self.load.add(len(data)):
            raise PeerRefused("BUSY")
        if self.pending > self.max_object:
            raise PeerRefused("OBJECT_TOO_LARGE")
        rest = memoryview(data)
        while len(rest):
            if self._pdu_begun is None:
                self._pdu_begun = now
            if self._body == 0:
                taken = min(6 - len(self._header), len(rest))
                self._header += rest[:taken]
                rest = rest[taken:]
                if not 1 <= self._header[0] <= 7:
                    raise PeerRefused("NOT_DICOM")
                if len(self._header) < 6:
                    return
                self._body = int.from_bytes(self._header[2:6], "big")
                self._header.clear()
                if self._body > self.max_declared:
                    raise PeerRefused("PDU_TOO_LONG")
            taken = min(self._body, len(rest))
            self._body -= taken
            rest = rest[taken:]
            if self._body == 0:
                self._pdu_begun = None

    def answered(self) -> None:
        """Nothing of this peer is held any more."""
        self.load.add(-self.pending)
        self.pending = 0


def told_title(text: object) -> str:
    """What a peer says its title is, fit for a log."""
    return re.sub(r"[^A-Za-z0-9_.-]", "?", str(text))[:16] or "-"


def syntaxes() -> list[str]:
    """Transfer syntaxes that can be decoded here."""
    return list(decoders())


def is_image_class(sop_class: str) -> bool:
    """Whether a SOP class is an image storage class of the standard."""
    return "ImageStorage" in uid.UID(sop_class).keyword


def identify(data: BytesIO, syntax: str) -> tuple[str, str] | None:
    """SOP Class UID and SOP Instance UID of an encoded data set, read up to them; None where they cannot be found."""
    data.seek(0)
    transfer = uid.UID(syntax)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            dataset = read_dataset(
                data, transfer.is_implicit_VR, transfer.is_little_endian,
                stop_when=lambda tag, vr, length: tag > _SOP_INSTANCE,
            )  # fmt: skip
            pair = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
    except Exception:  # whatever pydicom makes of what strangers send
        return None
    return pair if all(_UID.fullmatch(one) and len(one) <= 64 for one in pair) else None


def file_header(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """What stands before the data set in a file (PS3.10 7.1): a preamble of zeros and our file meta information."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = uid.UID(sop_class), uid.UID(sop_instance)
    meta.TransferSyntaxUID = uid.UID(syntax)
    meta.ImplementationClassUID = uid.UID(_IMPLEMENTATION[0])
    meta.ImplementationVersionName = _IMPLEMENTATION[1]
    stream = DicomBytesIO()
    stream.write(bytes(128) + b"DICM")
    write_file_meta_info(stream, meta)
    return stream.getvalue()


def file_name(sop_instance: str, sha256: str) -> str:
    """Name of a received file: hashes alone, so that nothing a peer sends is ever part of a path.

    The same SOP instance with another content gets another name: neither replaces the other.
    """
    return f"{sha256_bytes(sop_instance.encode())[:32]}-{sha256[:32]}.dcm"


LEFTOVERS = f".{'[0-9a-f]' * 32}-{'[0-9a-f]' * 32}.dcm.*.tmp"
"""Files of that name which a kill left half written (`core.files.atomic_write`)."""
