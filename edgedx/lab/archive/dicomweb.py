"""A PACS as the source of an archive, by DICOMweb (PS3.18): listed by QIDO-RS, retrieved one by one by WADO-RS.

Credentials are the user's ``~/.netrc``, and a CA of the hospital's is named by ``REQUESTS_CA_BUNDLE``: both as the
``requests`` library takes them, so that none stands in a command.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from edgedx.core.codes import Code
from edgedx.core.errors import DataError, DependencyMissing, InputOutputError
from edgedx.device.scanner.inbox import LARGEST

from .access import NotGiven, no_answer

_PAGE = 500
_TRIES, _WAIT_S = 4, 2.0
_SECONDS = 60.0
_GONE = (404, 410)
"""Answers that are about this one object: it was deleted meanwhile."""
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_WHOLE = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # as it is stored: nothing is transcoded


class DicomWeb:
    """A DICOMweb service.

    Parameters
    ----------
    source : str
        Root of the service; what stands behind ``?`` selects studies, e.g. ``?ModalitiesInStudy=CR&StudyDate=2020-``
        in QIDO-RS's own words.
    """

    def __init__(self, source: str) -> None:
        self._base, self._wanted = _split(source.partition("/studies/")[0])
        self._client = _client(self._base)

    def studies(self) -> Iterator[str]:
        """See `Pacs`; raises InputOutputError where the service does not answer, or not as DICOMweb."""
        found = _all(self._client.search_for_studies, search_filters=self._wanted)
        yield from sorted({_uid(one, _STUDY) for one in found})

    def objects(self, study: str) -> Iterator[str]:
        """See `Pacs`."""
        found = {(_uid(one, _SERIES), _uid(one, _INSTANCE)) for one in _all(self._client.search_for_instances, study)}
        for series, instance in sorted(found):
            yield f"{self._base}/studies/{study}/series/{series}/instances/{instance}"

    def fetch(self, address: str) -> bytes:
        """See `Pacs`; at most as long as the largest file that is read."""
        for attempt in range(1, _TRIES + 1):
            try:
                return self._retrieve(address)
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                status = getattr(getattr(error, "response", None), "status_code", None)
                if status in _GONE:
                    raise NotGiven(f"HTTP status {status}") from error
                if attempt == _TRIES:
                    what = f"an instance cannot be retrieved from the PACS: {type(error).__name__}"
                    raise no_answer(what) from error
                time.sleep(_WAIT_S * attempt)
        raise AssertionError("the last attempt raises")

    def close(self) -> None:
        """Nothing is open."""

    def _retrieve(self, address: str) -> bytes:
        session = self._client._session
        with session.get(address, headers={"Accept": _WHOLE}, timeout=_SECONDS, stream=True) as answer:
            answer.raise_for_status()
            body = bytearray()
            for piece in answer.iter_content(1 << 20):
                body += piece
                if len(body) > LARGEST:
                    raise NotGiven(f"it has more than {LARGEST} bytes", Code.TOO_LARGE)
            return _only_part(answer.headers.get("Content-Type", ""), bytes(body))


def _only_part(content_type: str, body: bytes) -> bytes:
    """The one part of a multipart answer (RFC 2046); a service may also send the object bare."""
    said = Message()
    said["Content-Type"] = content_type
    boundary = said.get_boundary()
    if boundary is None:
        return body
    first = body.index(b"--" + boundary.encode())
    begin = body.index(b"\r\n\r\n", first) + 4
    return body[begin : body.index(b"\r\n--" + boundary.encode(), begin)]


def _all(search: Any, *given: str, **named: Any) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        try:
            page = search(*given, limit=_PAGE, offset=offset, **named)
        except (OSError, ValueError) as error:
            raise InputOutputError(
                f"the PACS does not answer a search: {type(error).__name__}",
                next_step="give the root of its DICOMweb service, e.g. https://pacs:8043/dicom-web; see ~/.netrc",
            ) from error
        yield from page
        if len(page) < _PAGE:
            return
        offset += len(page)


def _uid(found: dict[str, Any], tag: str) -> str:
    from pydicom.uid import UID

    try:
        uid = UID(found[tag]["Value"][0])
    except (KeyError, IndexError, TypeError):
        raise DataError(f"an answer of the PACS lacks ({tag[:4]},{tag[4:]})") from None
    if not uid.is_valid:
        raise DataError("the PACS named something by what is no UID (PS3.5 9.1)")
    return str(uid)


def _split(source: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(source)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", "")), dict(parse_qsl(parts.query))


def _client(base: str) -> Any:
    try:
        from dicomweb_client.api import DICOMwebClient
    except ImportError as error:
        raise DependencyMissing(
            "a PACS as source needs dicomweb-client", next_step="pip install 'edgedx[cluster]'"
        ) from error
    client = DICOMwebClient(base)
    client.set_http_retry_params(retry=False)  # it would be silent for half a minute; a repeated command goes on
    return client
