"""One result as the page shows it, out of its JSON; what a person may not see yet is not in it."""

from __future__ import annotations

import json
import time
from calendar import timegm
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_regular

_MOST_BYTES = 32 << 20  # a result with each frame of a long cine


@dataclass(frozen=True)
class Bar:
    """One probability.

    Attributes
    ----------
    name : str
        Class.
    share : float
        0 to 1.
    threshold : float, optional
        From which on the class is said.
    said : bool
        Whether it is (part of) the model's answer.
    """

    name: str
    share: float
    threshold: float | None
    said: bool

    @property
    def percent(self) -> str:
        """For people: no model is ever quite sure."""
        return "<1%" if self.share < 0.005 else ">99%" if self.share > 0.995 else f"{100 * self.share:.0f}%"

    @property
    def length(self) -> str:
        """In SVG."""
        return f"{100 * self.share:.1f}%"

    @property
    def at(self) -> str:
        """The threshold as a length in SVG."""
        return f"{100 * (self.threshold or 0.0):.1f}%"


class ResultFile:
    """The JSON of one result, as the scanner wrote it.

    Raises
    ------
    InputOutputError
        It is gone, or is no result.
    """

    def __init__(self, out: Path, key: str) -> None:
        path = out / "results" / f"{key[:32]}.json"
        try:
            self.facts: dict[str, Any] = json.loads(read_regular(path, _MOST_BYTES))
            self.key = str(self.facts["key"])
            self.status = str(self.facts["status"])
            self.runtime: dict[str, Any] = dict(self.facts["runtime"])
            self.source: dict[str, Any] = dict(self.facts["source"])
            self.prediction: dict[str, Any] | None = self.facts.get("prediction")
        except (ValueError, KeyError, TypeError) as error:
            raise InputOutputError(f"{path} is no result", next_step="see `edgedx scan status`") from error

    @property
    def label(self) -> str | None:
        """What the model said; None where it said nothing."""
        return None if self.prediction is None else str(self.prediction["label"])

    @property
    def classes(self) -> list[str]:
        """Of the model, in its order; none where it said nothing."""
        return [] if self.prediction is None else [str(name) for name in self.prediction["probabilities"]]

    @property
    def is_multilabel(self) -> bool:
        """Whether several findings may be there at once: the probabilities of one choice add up to one."""
        if self.prediction is None:
            return False
        label = str(self.prediction["label"])
        if not label or "|" in label:
            return True
        total = sum(float(value) for value in self.prediction["probabilities"].values())
        limits = self.prediction.get("threshold") or {}
        return abs(total - 1.0) > 0.02 or (len(limits) > 1 and len(limits) == len(self.classes))

    @property
    def bars(self) -> list[Bar]:
        """Probabilities, the highest first."""
        if self.prediction is None:
            return []
        said = str(self.prediction["label"]).split("|")
        limits = self.prediction.get("threshold") or {}
        bars = [
            Bar(str(name), min(1.0, max(0.0, float(share))), limits.get(name), name in said)
            for name, share in self.prediction["probabilities"].items()
        ]
        return sorted(bars, key=lambda bar: -bar.share)

    @property
    def code(self) -> str | None:
        """Reason code, where there is no answer."""
        reason = self.facts.get("reason")
        return None if not reason else str(reason["code"])

    @property
    def frame(self) -> int | None:
        """Number of the frame that decided, of several."""
        frame = self.facts.get("frame")
        return frame if isinstance(frame, int) else None

    @property
    def unchecked(self) -> bool:
        """Whether a rule of the model for the header could not be checked: a photo, or fields that are absent."""
        found = self.facts.get("header")
        return bool(found and (found.get("not_checked") or found.get("unreadable")))

    @property
    def sure_of(self) -> list[str] | None:
        """Classes that cannot be told from the true one; None where the bundle does not say."""
        found = self.facts.get("prediction_set")
        return None if not found else [str(name) for name in found["classes"]]

    @property
    def coverage(self) -> str:
        """How often those hold the true one, in percent."""
        found = self.facts.get("prediction_set") or {}
        return f"{100 * float(found.get('coverage', 0.0)):.0f}"


def clock(created: str) -> str:
    """A moment (ISO 8601 UTC) by the box's clock: the time alone where it is today."""
    try:
        moment = time.localtime(timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return ""
    today = time.localtime()
    same = (moment.tm_year, moment.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M" if same else "%Y-%m-%d %H:%M", moment)
