"""A PACS as the source of an archive, by DICOMweb (PS3.18): listed by QIDO-RS, retrieved one by one by WADO-RS.

Credentials are the user's ``~/.netrc``, and a CA of the hospital's is named by ``REQUESTS_CA_BUNDLE``: both as the
``requests`` library takes them, so that none stands in a command.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from edgedx.core.errors import DataError, DependencyMissing, InputOutputError
from edgedx.device.scanner.inbox import LARGEST

_PAGE = 500
_TRIES = 4
_WAIT_S = 2.0
_SECONDS = 60.0
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_WHOLE = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # as it is stored: nothing is transcoded


def is_pacs(source: str) -> bool:
    """Whether a source is the address of a DICOMweb service."""
    return source.startswith(("https://", "http://"))


def instances_of(source: str) -> Iterator[str]:
    """Addresses of all instances, by study, rising by UID within each.

    Parameters
    ----------
    source : str
        Root of the service; what stands behind ``?`` selects studies, e.g. ``?ModalitiesInStudy=CR&StudyDate=2020-``
        in QIDO-RS's own words.

    Raises
    ------
    InputOutputError
        The service does not answer, or not as DICOMweb.
    """
    from pydicom.uid import UID

    base, wanted = _split(source)
    client = _client(base)
    studies = sorted({_uid(one, _STUDY) for one in _all(client.search_for_studies, search_filters=wanted)})
    for study in studies:
        found = {(_uid(one, _SERIES), _uid(one, _INSTANCE)) for one in _all(client.search_for_instances, study)}
        for series, instance in sorted(found):
            for uid in (study, series, instance):
                if not UID(uid).is_valid:
                    raise DataError("the PACS named an instance by what is no UID (PS3.5 9.1)")
            yield f"{base}/studies/{study}/series/{series}/instances/{instance}"


def fetch(address: str, folder: Path) -> Path:
    """Retrieve one instance as a DICOM file below `folder`; it holds no more than the largest that is read.

    Raises
    ------
    InputOutputError
        It cannot be had, at four attempts.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            content = _retrieve(address)
            break
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            if attempt == _TRIES:
                raise InputOutputError(
                    f"an instance cannot be retrieved from the PACS: {type(error).__name__}",
                    next_step="repeat the command when it answers: what is finished is kept",
                ) from error
            time.sleep(_WAIT_S * attempt)
    path = folder / "instance.dcm"
    path.write_bytes(content)
    return path


def _retrieve(address: str) -> bytes:
    session = _client(address.partition("/studies/")[0])._session
    with session.get(address, headers={"Accept": _WHOLE}, timeout=_SECONDS, stream=True) as answer:
        answer.raise_for_status()
        body = bytearray()
        for piece in answer.iter_content(1 << 20):
            body += piece
            if len(body) > LARGEST:
                raise ValueError("larger than what is read")
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
    try:
        return str(found[tag]["Value"][0])
    except (KeyError, IndexError, TypeError):
        raise DataError(f"an answer of the PACS lacks ({tag[:4]},{tag[4:]})") from None


def _split(source: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(source)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", "")), dict(parse_qsl(parts.query))


@cache
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
