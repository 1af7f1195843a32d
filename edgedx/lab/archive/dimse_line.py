"""One association with a PACS: made when it is needed, and again when it broke. One request at a time goes over it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from edgedx.core.errors import EdgedxError, InputOutputError
from edgedx.device.pacs.peer import Peer
from edgedx.dicom.receive import MAX_PDU

from .access import no_answer

_CONNECT_S, _ACCEPT_S = 10.0, 30.0
_ANSWER_S = 300.0
"""Until the PACS answers: what is asked for may lie on a tape."""
_TRIES, _WAIT_S = 4, 2.0
_PERMANENT = 1
"""Result of a rejection that will be the same the next time (PS3.8 9.3.4)."""
T = TypeVar("T")
Context = tuple[str, Sequence[str]]
"""A SOP class, and the transfer syntaxes of it that one context proposes."""


class Broken(Exception):
    """The association is gone, or the PACS did not answer."""


class Line:
    """The way to a PACS.

    Parameters
    ----------
    pause : float
        Seconds from one request to the next.
    """

    def __init__(self, peer: Peer, pause: float) -> None:
        self._peer, self._pause = peer, pause
        self._association: Any = None
        self._asked = float("-inf")

    def ask(
        self,
        contexts: Callable[[], Iterable[Context]],
        request: Callable[[Any], T],
        *,
        takes: Sequence[str] = (),
        handlers: Sequence[tuple[Any, Any]] = (),
    ) -> T:
        """Put a request to the PACS, again where the association breaks.

        Parameters
        ----------
        contexts : callable
            Proposed where there is no association; with those of `takes` we are the one who stores.
        request : callable
            Is given the association; raises `Broken` where that is gone.

        Raises
        ------
        InputOutputError
            It does not answer, at four attempts.
        """
        for attempt in range(1, _TRIES + 1):
            time.sleep(max(0.0, self._asked + self._pause - time.monotonic()))
            try:
                if self._association is None or not self._association.is_established:
                    self._association = self._associate(contexts(), takes, handlers)
                return request(self._association)
            except EdgedxError:
                self._abort()
                raise
            except (Broken, RuntimeError, OSError) as error:  # pynetdicom's of an association that is gone
                self._abort()
                if attempt == _TRIES:
                    raise no_answer(f"the PACS does not answer: {error}") from error
                time.sleep(_WAIT_S * attempt)
            finally:
                self._asked = time.monotonic()
        raise AssertionError("the last attempt raises")

    def close(self) -> None:
        """End the association, if there is one."""
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.release()

    def _abort(self) -> None:
        """End it in the middle of an answer."""
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.abort()

    def _associate(self, contexts: Iterable[Context], takes: Sequence[str], handlers: Sequence[tuple[Any, Any]]) -> Any:
        from pynetdicom import _config
        from pynetdicom.ae import ApplicationEntity
        from pynetdicom.presentation import build_context, build_role

        _config.LOG_HANDLER_LEVEL = "none"
        logging.getLogger("pynetdicom").propagate = False  # it would describe each message
        logging.getLogger("pynetdicom").addHandler(logging.NullHandler())
        entity = ApplicationEntity(ae_title=self._peer.calling)
        entity.connection_timeout, entity.acse_timeout = _CONNECT_S, _ACCEPT_S
        entity.dimse_timeout = entity.network_timeout = _ANSWER_S
        association = entity.associate(
            self._peer.host, self._peer.port, ae_title=self._peer.called, tls_args=self._peer.tls_arguments(),
            contexts=[build_context(name, list(syntaxes)) for name, syntaxes in contexts], max_pdu=MAX_PDU,
            ext_neg=[build_role(name, scp_role=True) for name in takes], evt_handlers=list(handlers),
        )  # fmt: skip
        if association.is_established:
            return association
        answer = association.acceptor.primitive if association.is_rejected else None
        if answer is None:
            raise Broken("no association")
        told = f"rejected: result {answer.result}, source {answer.result_source}, reason {answer.diagnostic}"
        if answer.result != _PERMANENT:
            raise Broken(told)
        title = {3: f"our title {self._peer.calling}", 7: f"the title {self._peer.called}"}.get(answer.diagnostic)
        raise InputOutputError(
            f"the PACS does not know {title} ({told})" if title else f"the PACS {told}",
            next_step="compare both titles with what its administrator has entered for us",
        )
