"""The address of a PACS that speaks DIMSE, of one object of it, and the words that choose studies and series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import ValidationError

from edgedx.core.errors import UsageError
from edgedx.core.settings.pacs import PacsSettings
from edgedx.core.settings.validation import explain

from .access import Access

_NEXT = 'give "dimse://OUR-TITLE@HOST:PORT/ITS-TITLE?StudyDate=20250101-20250630&Modality=CR"'
_SERIES = ("Modality", "BodyPartExamined", "SeriesDescription", "SeriesInstanceUID", "ProtocolName", "Laterality")
FIRST = date(1900, 1, 1)


@dataclass(frozen=True)
class Address:
    """Where a PACS is, and what is asked for.

    Attributes
    ----------
    base : str
        Without what chooses: ``dimse://EDGEDX@pacs:104/PACS``.
    of_study, of_series : mapping of str
        Values to match, by keyword (PS3.4 C.2.2.2).
    place : tuple of str
        Study, series and SOP instance UID and SOP class UID, the last empty where it is not known; or nothing.
    """

    base: str
    settings: PacsSettings
    of_study: Mapping[str, str]
    of_series: Mapping[str, str]
    place: tuple[str, ...] = ()

    def object(self, study: str, series: str, instance: str, sop_class: str) -> str:
        """Address of one object."""
        return f"{self.base}/{study}/{series}/{instance}" + (f"/{sop_class}" if sop_class else "")

    def days(self) -> tuple[date, date]:
        """First and last day that StudyDate allows.

        Raises
        ------
        UsageError
            It is neither a day nor a range of days.
        """
        first, dash, last = (self.of_study.get("StudyDate") or "-").partition("-")
        try:
            begin = _day(first) if first else FIRST
            end = _day(last) if last else (date.today() + timedelta(1) if dash else begin)
        except ValueError as error:
            raise UsageError("StudyDate is no day and no range of days", next_step=_NEXT) from error
        return begin, end


def parse(source: str, access: Access) -> Address:
    """Read an address. No message holds what stands behind ``?``: that may be a patient's number.

    Raises
    ------
    UsageError
        Names what is wrong.
    """
    from pydicom.datadict import tag_for_keyword

    try:
        parts = urlsplit(source)
        host, port, calling = parts.hostname or "", parts.port, unquote(parts.username or "")
    except ValueError:
        raise UsageError("the address of the PACS is wrong", next_step=_NEXT) from None
    called, *place = parts.path.strip("/").split("/")
    if not (host and port and called):
        raise UsageError("the address of the PACS lacks host, port or title", next_step=_NEXT)
    words = dict(parse_qsl(parts.query, keep_blank_values=True))
    for word in words:
        if tag_for_keyword(word) is None:
            raise UsageError(f"{word!r} is no DICOM keyword", next_step=_NEXT)
    where = f"[{host}]" if ":" in host else host
    calling = calling or "EDGEDX"
    address = Address(
        base=f"dimse://{quote(calling)}@{where}:{port}/{called}",
        settings=_settings(access, calling, unquote(called), host, port),
        of_study={word: value for word, value in words.items() if word not in _SERIES},
        of_series={word: value for word, value in words.items() if word in _SERIES},
        place=tuple(place),
    )
    address.days()
    return address


def _settings(access: Access, calling: str, called: str, host: str, port: int) -> PacsSettings:
    """The settings that a scanner would have for this PACS, checked as they are."""
    tls = None if access.tls is None else access.tls.model_dump()
    fields: dict[str, object] = {
        "ae_title": calling,
        "send": {"ae_title": called, "host": host, "port": port, "tls": tls},
    }
    if access.move_to is not None:
        ours, _, number = access.move_to.rpartition(":")
        if not number.isdecimal():
            raise UsageError("--move-to is no ADDRESS:PORT", next_step="e.g. 192.168.10.5:11112")
        if access.tls is not None and access.tls.certificate is None:
            raise UsageError(
                "--move-to with TLS: the PACS connects to us, and asks for our certificate",
                next_step="give --tls-certificate and --tls-key, too",
            )
        fields["receive"] = {"address": ours, "port": int(number), "allow": "*", "tls": tls}
    try:
        return PacsSettings.model_validate(fields)
    except ValidationError as error:
        raise UsageError(explain(error, PacsSettings, "the PACS"), next_step=_NEXT) from error


@dataclass(frozen=True)
class Span:
    """Days, or minutes of one day, of studies; `end` is not in it."""

    begin: datetime
    end: datetime

    def halves(self, *, of_days: bool) -> tuple[Span, Span] | None:
        """Both halves; None of a minute, or of a day where only days may be told apart."""
        days, minutes = (self.end - self.begin).days, int((self.end - self.begin).total_seconds()) // 60
        if days > 1:
            middle = self.begin + timedelta(days // 2)
        elif minutes > 1 and not of_days:
            middle = self.begin + timedelta(minutes=minutes // 2)
        else:
            return None
        return Span(self.begin, middle), Span(middle, self.end)

    def words(self) -> dict[str, str]:
        """StudyDate and, within a day, StudyTime.

        Times overlap by a minute, and are open at the day's ends: a PACS may keep 08 for 08:00, and compare as text.
        """
        last = self.end - timedelta(minutes=1)
        if self.end - self.begin >= timedelta(days=1):
            return {"StudyDate": f"{self.begin:%Y%m%d}-{last:%Y%m%d}"}
        midnight = datetime.combine(self.begin.date(), datetime.min.time())
        earliest = "" if self.begin == midnight else f"{self.begin - timedelta(minutes=1):%H%M}"
        latest = "" if self.end == midnight + timedelta(days=1) else f"{last:%H%M}59.999999"
        return {"StudyDate": f"{self.begin:%Y%m%d}", "StudyTime": f"{earliest}-{latest}"}


def whole(first: date, last: date) -> Span:
    """From the first day to the last one, which is in it."""
    start = datetime.min.time()
    return Span(datetime.combine(first, start), datetime.combine(last + timedelta(1), start))


def _day(text: str) -> date:
    return datetime.strptime(text, "%Y%m%d").date()
