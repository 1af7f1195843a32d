"""What a PACS holds, by C-FIND: studies, their series, their objects (PS3.4 C.4.1, Study Root).

Many a PACS gives only so many answers, and not all of them say so. So where there are many, the time that was asked
about is halved until there are few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgedx.core.errors import DataError, UsageError

from .access import no_answer
from .dimse_address import Address, whole
from .dimse_line import Broken, Context, Line

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
MANY = 100
"""Studies that are believed to be all. A PACS that gives fewer at a time, and says nothing, is not known."""
_PENDING = (0xFF00, 0xFF01)
_CONTEXTS: tuple[Context, ...] = ((FIND, SYNTAXES),)
_STUDY, _SERIES, _INSTANCE = "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"


class Finder:
    """Asks a PACS what it holds."""

    def __init__(self, address: Address, line: Line) -> None:
        self._address, self._line = address, line

    def studies(self) -> Iterator[str]:
        """Study Instance UIDs, rising.

        Raises
        ------
        InputOutputError
            The PACS does not answer, or not with all.
        UsageError
            It cannot choose by what was asked for.
        """
        words = self._address.of_study
        found, all_of_them = self._studies({}, None)
        if not all_of_them or len(found) >= MANY:
            waiting = [whole(*self._address.days())]
            while waiting:
                span = waiting.pop()
                halves = span.halves(of_days="StudyTime" in words)
                here, all_of_them = self._studies(span.words(), MANY if halves else None)
                found |= here
                if halves and (not all_of_them or len(here) >= MANY):
                    waiting += halves
                elif not all_of_them:
                    raise no_answer(f"the PACS gives {len(here)} studies of {span.begin:%Y-%m-%d}, and not all")
        yield from sorted(found)

    def objects(self, study: str) -> Iterator[tuple[str, str, str]]:
        """Series, SOP instance and SOP class UID of what a study holds; the last empty where the PACS does not say."""
        wanted = {_STUDY: study, **self._address.of_series}
        for series in sorted({_uid(one, _SERIES) for one in self._all("SERIES", wanted, (_SERIES,))}):
            place = {_STUDY: study, _SERIES: series}
            answers = self._all("IMAGE", place, (_INSTANCE, "SOPClassUID"))
            for instance, sop_class in sorted({(_uid(one, _INSTANCE), _class_of(one)) for one in answers}):
                yield series, instance, sop_class

    def _studies(self, more: Mapping[str, str], most: int | None) -> tuple[set[str], bool]:
        answers, status = self._find("STUDY", {**self._address.of_study, **more}, (_STUDY,), most)
        return {_uid(one, _STUDY) for one in answers}, status == 0

    def _all(self, level: str, wanted: Mapping[str, str], returned: tuple[str, ...]) -> list[Any]:
        answers, status = self._find(level, wanted, returned, None)
        if status:
            raise no_answer(f"the PACS ends a search for {level} with status 0x{status:04X}")
        return answers

    def _find(
        self, level: str, wanted: Mapping[str, str], returned: tuple[str, ...], most: int | None
    ) -> tuple[list[Any], int]:
        """Answers and last status; no more answers are asked for when there are `most`."""
        from pydicom import config
        from pydicom.dataset import Dataset

        with config.disable_value_validation():  # ranges and wildcards
            identifier = Dataset()
            identifier.QueryRetrieveLevel = level
            for keyword in returned:
                setattr(identifier, keyword, "")
            for keyword, value in wanted.items():
                setattr(identifier, keyword, value)

        def request(association: Any) -> tuple[list[Any], int]:
            answers: list[Any] = []
            for status, answer in association.send_c_find(identifier, FIND, msg_id=1):
                if "Status" not in status:
                    raise Broken("a search broke off")
                if status.Status not in _PENDING:
                    return answers, int(status.Status)
                if answer is None:
                    raise DataError("an answer of the PACS to a search cannot be read")
                _check_matched(answer, wanted)
                answers.append(answer)
                if len(answers) == most:
                    association.send_c_cancel(1, query_model=FIND)
            raise Broken("a search broke off")

        return self._line.ask(lambda: _CONTEXTS, _offered(request))


def _check_matched(answer: Any, wanted: Mapping[str, str]) -> None:
    """What a PACS does not match by it does not return either (PS3.4 C.2.2.1.3), and gives more than was asked for."""
    free = [word for word, value in wanted.items() if word not in (_STUDY, _SERIES) and value.strip("*")]
    ignored = [word for word in free if not answer.get(word)]
    if ignored:
        raise UsageError(
            f"this PACS does not choose by {' or '.join(ignored)}: it gives more than was asked for",
            next_step="choose by StudyDate and Modality, which every PACS has to know",
        )


def _offered(request: Any) -> Any:
    def checked(association: Any) -> Any:
        if not any(one.abstract_syntax == FIND for one in association.accepted_contexts):
            raise UsageError(
                "the PACS does not offer C-FIND (Study Root) to us",
                next_step="ask its administrator to allow it to our title",
            )
        return request(association)

    return checked


def _uid(answer: Any, keyword: str) -> str:
    from pydicom.uid import UID

    uid = UID(str(answer.get(keyword, "") or ""))
    if not uid.is_valid:
        raise DataError(f"an answer of the PACS lacks {keyword}, or it is no UID (PS3.5 9.1)")
    return str(uid)


def _class_of(answer: Any) -> str:
    return _uid(answer, "SOPClassUID") if answer.get("SOPClassUID") else ""
