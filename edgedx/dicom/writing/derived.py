"""What every object made by edgedx shares: who made it, when, and how it becomes a file."""

from __future__ import annotations

import calendar
import logging
import time
import warnings
from io import BytesIO

from pydicom.dataset import Dataset

from edgedx.core.errors import DependencyMissing
from edgedx.core.result import Result


def require_highdicom() -> None:
    """Refuse with the command to install it; and silence it, because its warnings quote names of patients.

    Raises
    ------
    DependencyMissing
        highdicom is not installed.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise DependencyMissing(
            "DICOM reports and pictures need highdicom", next_step="pip install 'edgedx[sr]'"
        ) from error
    logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"highdicom(\.|$)")


def algorithm(result: Result) -> tuple[str, str]:
    """Name and version of the model."""
    name, _, version = result.runtime.model.rpartition(" ")
    return name, version


def strange_frames(result: Result) -> int:
    """How many frames are unlike the images that the model was trained on."""
    said = [one.unlikeness for one in result.frames or []]
    return sum(one is not None and one.out_of_distribution for one in said)


def local_time(created: str) -> tuple[str, str]:
    """A result's time as DICOM's date and time, in the device's time zone, as all times of a study are."""
    there = time.localtime(calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ")))
    return time.strftime("%Y%m%d", there), time.strftime("%H%M%S", there)


def finish(made: Dataset, result: Result) -> bytes:
    """Give an object the result's time instead of now, and write it as a DICOM file.

    The preamble is zero, so that the file is nothing else besides (CVE-2019-11687).
    """
    date, clock = local_time(result.created)
    for name, value in (("Date", date), ("Time", clock)):
        for keyword in (f"InstanceCreation{name}", f"Content{name}", f"{name}OfSecondaryCapture"):
            if keyword in made:
                setattr(made, keyword, value)
        setattr(made, f"Series{name}", value)
    for element in made.iterall():
        if element.keyword in ("ObservationDateTime", "ContributionDateTime"):
            element.value = date + clock
    made.preamble = bytes(128)
    stream = BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
