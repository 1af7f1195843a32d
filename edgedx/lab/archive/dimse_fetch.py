"""Objects of a PACS, one by one, by C-GET, or by C-MOVE to a port of ours (PS3.4 C.4.2, C.4.3, Study Root)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from threading import Event, Lock
from typing import Any

from edgedx.core.codes import Code
from edgedx.core.errors import UsageError
from edgedx.device.pacs.receive_worker import Reception
from edgedx.device.pacs.receiver import Listen
from edgedx.device.scanner.inbox import LARGEST
from edgedx.dicom.receive import Status, file_header, identify, is_image_class, syntaxes

from .access import NotGiven, no_answer
from .dimse_find import FIND, SYNTAXES
from .dimse_line import Broken, Context, Line

GET, MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
_CONTEXTS = 128
"""Of an association (PS3.8 9.3.2.2)."""
_LATE_S = 10.0
"""For an object that comes after the PACS said that it was sent."""
_NO_DESTINATION, _NO_RESOURCES, _PENDING = 0xA801, (0xA700, 0xA701, 0xA702), 0xFF00


class Hand:
    """Takes the one object that was asked for, and no other."""

    def __init__(self) -> None:
        self._wanted, self._content, self._came = "", b"", Event()

    def expect(self, sop_instance: str) -> None:
        """Before it is asked for."""
        self._came.clear()
        self._wanted, self._content = sop_instance, b""

    @property
    def waits(self) -> bool:
        """Whether something is expected."""
        return bool(self._wanted)

    def take(self, sop_class: str, sop_instance: str, syntax: str, data: BytesIO) -> Status:
        """Answer to a C-STORE (see `Desk.take`)."""
        if sop_instance != self._wanted or identify(data, syntax) != (sop_class, sop_instance):
            return Status.NOT_WHAT_IT_SAYS
        self._content = file_header(sop_class, sop_instance, syntax) + data.getvalue()
        self._came.set()
        return Status.TAKEN

    def given(self, seconds: float) -> bytes | None:
        """What was expected, as a file; the same bytes as a scanner has that received the object."""
        self._came.wait(seconds)
        content, self._content, self._wanted = self._content, b"", ""
        return content or None


class Fetcher:
    """Gets objects; threads take turns.

    Parameters
    ----------
    listen : Listen, optional
        Where the PACS sends by C-MOVE; without it, C-GET.
    title : str
        Ours, that the PACS sends to.
    """

    def __init__(self, line: Line, listen: Listen | None, title: str) -> None:
        self._line, self._title, self._lock, self._hand = line, title, Lock(), Hand()
        self._classes: list[str] = []
        self._bytes = 0
        line.close()  # it offers a search alone
        self._reception = None if listen is None else _receive(self._hand, listen)

    def fetch(self, study: str, series: str, instance: str, sop_class: str) -> bytes:
        """One object as a file.

        Raises
        ------
        NotGiven
            See `Pacs.fetch`.
        InputOutputError, UsageError
            The PACS does not do it, for any object.
        """
        if sop_class and not is_image_class(sop_class):
            raise NotGiven(f"SOP class {sop_class} holds no image: not asked for", Code.NO_PIXELS)
        wanted = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
        with self._lock:
            if self._reception is None:
                self._propose(sop_class)
                return self._line.ask(
                    self._contexts, lambda association: self._get(association, wanted), takes=self._images(),
                    handlers=_handlers(self._stored, self._received),
                )  # fmt: skip
            return self._line.ask(
                lambda: [(FIND, SYNTAXES), (MOVE, SYNTAXES)], lambda association: self._move(association, wanted)
            )

    def close(self) -> None:
        """End association and reception."""
        self._line.close()
        if self._reception is not None:
            self._reception.close()

    def _get(self, association: Any, wanted: Mapping[str, str]) -> bytes:
        if not any(one.abstract_syntax == GET for one in association.accepted_contexts):
            raise UsageError(
                "the PACS does not offer C-GET to us",
                next_step="give --move-to OUR-ADDRESS:PORT, after its administrator entered our title with that there",
            )
        self._hand.expect(wanted["SOPInstanceUID"])
        self._bytes = 0
        answers = association.send_c_get(_identifier(wanted), GET)
        return self._result(answers, 0.0)

    def _move(self, association: Any, wanted: Mapping[str, str]) -> bytes:
        if not any(one.abstract_syntax == MOVE for one in association.accepted_contexts):
            raise UsageError("the PACS does not offer C-MOVE to us", next_step="leave --move-to out, for C-GET")
        self._hand.expect(wanted["SOPInstanceUID"])
        answers = association.send_c_move(_identifier(wanted), self._title, MOVE)
        return self._result(answers, _LATE_S)

    def _result(self, answers: Iterator[tuple[Any, Any]], seconds: float) -> bytes:
        last = [status for status, _ in answers][-1]
        status = None if "Status" not in last else int(last.Status)
        content = self._hand.given(seconds if status == 0 else 0.0)
        if content is not None:
            return content
        if self._bytes > LARGEST:
            raise NotGiven(f"it has more than {LARGEST} bytes", Code.TOO_LARGE)
        if status is None:
            raise Broken("it went silent while an object was asked for")
        if status == _NO_DESTINATION:
            raise UsageError(
                f"the PACS does not know {self._title} as a place to send to",
                next_step="its administrator enters our title with the address and port of --move-to",
            )
        if status in _NO_RESOURCES:
            raise no_answer(f"the PACS is out of resources (status 0x{status:04X})")
        failed = last.get("NumberOfFailedSuboperations", 0) or 0
        raise NotGiven(f"DIMSE status 0x{status:04X}, {failed} sub-operations failed")

    def _propose(self, sop_class: str) -> None:
        """Have the association propose a SOP class with each transfer syntax on its own, so that an object comes as it
        is stored: of those of one context the PACS would choose one for all objects."""
        if sop_class in self._classes:
            return
        most = (_CONTEXTS - 2) // len(syntaxes())
        self._classes = [*self._classes, sop_class][-most:] if sop_class else [""]
        self._line.close()

    def _images(self) -> list[str]:
        """Classes that we take: the latest ones, or all where the PACS does not say what an object is."""
        if "" not in self._classes:
            return self._classes
        from pynetdicom.presentation import AllStoragePresentationContexts

        names = [str(one.abstract_syntax) for one in AllStoragePresentationContexts]
        return [name for name in names if is_image_class(name)][: _CONTEXTS - 2]

    def _contexts(self) -> list[Context]:
        if "" in self._classes:
            return [(FIND, SYNTAXES), (GET, SYNTAXES), *((name, syntaxes()) for name in self._images())]
        return [
            (FIND, SYNTAXES),
            (GET, SYNTAXES),
            *((name, [syntax]) for name in self._classes for syntax in syntaxes()),
        ]

    def _stored(self, event: Any) -> int:
        request = event.request
        return int(
            self._hand.take(
                str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID),
                str(event.context.transfer_syntax), request.DataSet,
            )
        )  # fmt: skip

    def _received(self, event: Any) -> None:
        """Bytes came: an object without end is cut off."""
        self._bytes += len(event.data) if self._hand.waits else 0
        if self._bytes > LARGEST and event.assoc.dul.socket is not None:
            event.assoc.dul.socket.close()


def _receive(hand: Hand, listen: Listen) -> Reception:
    reception = Reception(hand, listen, lambda text: None)
    try:
        reception.open(listen.bind())
    except OSError as error:
        raise no_answer(f"--move-to: cannot listen at port {listen.port} ({error.strerror})") from error
    return reception


def _handlers(store: Any, received: Any) -> list[tuple[Any, Any]]:
    from pynetdicom import evt

    return [(evt.EVT_C_STORE, store), (evt.EVT_DATA_RECV, received)]


def _identifier(wanted: Mapping[str, str]) -> Any:
    from pydicom.dataset import Dataset

    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    for keyword, value in wanted.items():
        setattr(identifier, keyword, value)
    return identifier
