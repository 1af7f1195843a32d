"""The patient's age when the study was made, from what a header says of it. The result is for deciding alone."""

from __future__ import annotations

import re
from datetime import date

_UNITS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0, "": 1.0}
_OLDEST = 130


class AgeUnreadable(Exception):
    """The header says something of the age, and no age can be read from it."""


def age_at_study(age: str, birth_date: str, study_date: str) -> float | None:
    """Years, to two decimals; completed years where only dates are there; None where nothing is said.

    Parameters
    ----------
    age : str
        (0010,1010), VR AS: three digits and D, W, M or Y (PS3.5 6.2). Writers also leave out zeros, write the unit
        small, or leave it out where it is years. It comes first.
    birth_date, study_date : str
        (0010,0030) and (0008,0020), VR DA: YYYYMMDD, or YYYY.MM.DD as before 1993.

    Raises
    ------
    AgeUnreadable
        There is an age, or both dates, and no age from 0 to 130 can be read from them: that is not "absent".
    """
    match = re.fullmatch(r"(\d{1,3}) ?([DWMY]?)", age.upper())
    years = round(int(match[1]) / _UNITS[match[2]], 2) if match else None
    if years is None and birth_date and study_date:
        years = _completed(_date(birth_date), _date(study_date))
    elif years is None and not age:
        return None
    if years is None or not 0 <= years <= _OLDEST:
        raise AgeUnreadable
    return years


def _completed(born: date | None, studied: date | None) -> float | None:
    if born is None or studied is None:
        return None
    return float(studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day)))


def _date(text: str) -> date | None:
    match = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", text.replace(".", "") if text.count(".") == 2 else text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None
