"""One light and its sentences: what a person at the clinic is told, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_json
from edgedx.core.messages import say

EXAMINATION = "monitor.json"
"""What the scanner found at its last look, in the output folder."""
Colour = Literal["green", "yellow", "red", "grey"]


@dataclass(frozen=True)
class Light:
    """One colour, why, and the figures of the sentence.

    Attributes
    ----------
    colour : str
        ``green``: as usual; ``yellow``: something has changed, keep working; ``red``: do not rely on the answers;
        ``grey``: nothing can be said yet.
    code : str
        Why: ``usual``, ``few``, ``none``, ``reference``, ``clock``; ``pictures``, ``answers``, ``header``,
        ``refusals``, ``repeats``; ``foreign``, ``unlike``, ``readers``. The message key is ``light.CODE``.
    values : dict
        For the sentence; ``since`` is a date, where one is known.
    """

    colour: Colour
    code: str
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def alarm(self) -> bool:
        """Whether somebody has to do something about the images or the answers."""
        return self.colour in ("yellow", "red")

    def sentences(self, language: str = "en") -> list[str]:
        """What it means, since when, and what to do."""
        told = [say(language, f"light.{self.code}", **self.values)]
        if self.values.get("since"):
            told.append(say(language, "light.since", since=self.values["since"]))
        return [*told, say(language, f"light.{self.code}.do", **self.values)]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"colour": self.colour, "code": self.code, "values": self.values}


def light(out: Path) -> Light:
    """The light of an output folder, as the scanner last saw it; grey where it has not looked yet, or cannot be read.

    Cheap: one small file is read, nothing is computed.
    """
    try:
        told = read_json(out / EXAMINATION)["light"]
        return Light(told["colour"], str(told["code"]), dict(told["values"]))
    except (InputOutputError, KeyError, TypeError, ValueError):
        return Light("grey", "none")


def prevalence_sentence(language: str, name: str, told: Mapping[str, Any]) -> str:
    """About how many have a finding here, with what a positive and a negative answer are worth where that is known."""
    shown = {key: _percent(told[key]) for key in ("value", "low", "high", "built")}
    sentence = say(language, "light.prevalence", name=name, share=shown["value"], low=shown["low"], high=shown["high"],
                   built=shown["built"])  # fmt: skip
    if told.get("ppv_here") is None or told.get("npv_here") is None:
        return sentence
    worth = {key: _percent(told[key]) for key in ("ppv_here", "npv_here")}
    before = {key: _percent(told[key]) if told.get(key) is not None else "-" for key in ("ppv_built", "npv_built")}
    return f"{sentence} {say(language, 'light.predictive', name=name, **worth, **before)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.1 or share == 0 else f"{100 * share:.1f}"
