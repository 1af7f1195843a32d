"""The patient's age when the study was made, from what a header says of it. The result is for deciding alone."""

from __future__ import annotations

import re
from datetime import date

_UNITS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
_OLDEST = 130


def age_at_study(age: str, birth_date: str, study_date: str) -> float | None:
    """Years, to two decimals; completed years where only dates are there; None where nothing usable is said.

    Parameters
    ----------
    age : str
        (0010,1010), VR AS: three digits and D, W, M or Y (PS3.5 6.2). It comes first.
    birth_date, study_date : str
        (0010,0030) and (0008,0020), VR DA: YYYYMMDD. De-identified files hold impossible ones: those count as absent.
    """
    if match := re.fullmatch(r"(\d{3})([DWMY])", age):
        return round(int(match[1]) / _UNITS[match[2]], 2)
    born, studied = _date(birth_date), _date(study_date)
    if born is None or studied is None:
        return None
    years = studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
    return float(years) if 0 <= years <= _OLDEST else None


def _date(text: str) -> date | None:
    match = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None
