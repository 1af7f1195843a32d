"""Which devices need a call, and why: rules over their summaries. Pure; the figures are rules of thumb, and told."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgedx.core.version import version_key
from edgedx.device.fleet.summary import TROUBLES, Summary

from .boxes import Fleet, Heard

Kind = Literal["trouble", "silent", "behind", "unlike"]
CALL = 30.0
"""Weight from which on a device needs a call."""
_WEIGHTS = {
    "NOTHING_INSTALLED": 88, "DAMAGED": 92, "UNSIGNED": 60, "REVERTED": 55, "SCANNER_DEAD": 86, "SCANNER_STOPPED": 84,
    "NO_SCANNER": 65, "DISK_LOW": 82, "STUCK": 75, "FILES": 32, "OUTPUTS": 45, "AUDIT": 40, "PACS": 50, "CLOCK": 31,
}  # fmt: skip
_DO = {
    "NOTHING_INSTALLED": "install there: edgedx install --from",
    "DAMAGED": "install again; if it comes back, the disk is failing",
    "REVERTED": "ask for `edgedx status` there before the next release",
    "SCANNER_DEAD": "is the machine on? Restart the service, read its journal",
    "SCANNER_STOPPED": "who stopped it, and why? Start the service",
    "DISK_LOW": "make room; see --keep-days",
    "STUCK": "read the journal of the scanner",
    "CLOCK": "set the clock; is its battery dead?",
}
_LIGHTS = {
    "foreign": "many images are unlike those that the model was made for",
    "unlike": "images and answers are unlike those that the model was made for",
    "readers": "its readers often disagree with the model",
    "pictures": "the pictures look different than before",
    "answers": "its answers are different than before",
    "header": "the images come from other machines or settings than before",
    "refusals": "it refuses more than before",
    "repeats": "the same images come again and again",
}
"""Codes of the monitor's light; its own sentences, with figures, are at the device."""
FEW = 8
"""Of fewer devices of a profile, nothing is said of what is usual among them."""
LEAST_IMAGES = 50
FAR = 6.0
"""Robust standard deviations from the median (1.4826 times the median absolute deviation) that count as unlike."""
MOST = 0.8
"""A release counts as out when this share of the devices that may take it have it; before, nobody is behind."""


@dataclass(frozen=True)
class Reason:
    """One thing about a device: its weight from 0 to 100, what it is, and what to do."""

    kind: Kind
    weight: float
    text: str
    do: str = ""


@dataclass(frozen=True)
class Judged:
    """A device with its reasons, the heaviest first."""

    name: str
    heard: Heard | None
    reasons: tuple[Reason, ...]

    @property
    def weight(self) -> float:
        """Of the heaviest, a little more for each further one."""
        return self.reasons[0].weight + 0.5 * (len(self.reasons) - 1) if self.reasons else 0.0

    @property
    def call(self) -> bool:
        """Whether somebody should call."""
        return self.weight >= CALL


def judge(fleet: Fleet, expected: Mapping[str, str], *, silent_days: float = 7.0) -> list[Judged]:
    """Every device, the one that most needs a call first; of equals, by name."""
    unlike = _unlike([one.summary for one in fleet.heard.values()])
    behind = _behind(fleet, expected)
    judged = []
    for name in fleet.names:
        heard = fleet.heard.get(name)
        reasons = [*_silent(heard, silent_days), *unlike.get(name, ()), *behind.get(name, ())]
        if heard is not None:
            reasons += _troubles(heard.summary)
        judged.append(Judged(name, heard, tuple(sorted(reasons, key=lambda one: -one.weight))))
    return sorted(judged, key=lambda one: (-one.weight, one.name))


def _silent(heard: Heard | None, days: float) -> list[Reason]:
    if heard is None:
        return [Reason("silent", 70, "was never heard of", "was it ever set up? Run edgedx fleet status there")]
    if heard.age_days <= days:
        return []
    weight = min(81.0, 60 + heard.age_days / days)
    return [Reason("silent", weight, f"silent for {heard.age_days:.0f} days", "call: is it on, is its line up?")]


def _troubles(summary: Summary) -> list[Reason]:
    found = [Reason("trouble", _WEIGHTS[code], TROUBLES[code], _DO.get(code, "")) for code in summary.troubles]
    light = summary.light
    if light is not None and light.colour == "red":
        found.append(
            Reason(
                "trouble",
                95,
                f"its light is red: {_LIGHTS.get(light.code, light.code)}",
                "do not rely on its answers: call now",
            )
        )
    if light is not None and light.colour == "yellow":
        found.append(
            Reason(
                "trouble", 36, f"its light is yellow: {_LIGHTS.get(light.code, light.code)}", "ask what changed there"
            )
        )
    return found


def _behind(fleet: Fleet, expected: Mapping[str, str]) -> dict[str, list[Reason]]:
    """By name; only of releases that most of those who may take them have."""
    have: dict[tuple[str, str, str], list[bool]] = {}
    late: dict[str, tuple[tuple[str, str, str], str]] = {}
    for name, version in expected.items():
        model = fleet.heard[name].summary.model
        if model is None:
            continue
        group, there = (model.name, model.profile, version), version_key(model.version) >= version_key(version)
        have.setdefault(group, []).append(there)
        if not there:
            late[name] = (group, model.version)
    found = {}
    for name, (group, version) in late.items():
        if sum(have[group]) < MOST * len(have[group]):
            continue
        outcome = fleet.heard[name].summary.update.outcome
        why = {
            "unreachable-or-refused": ", and cannot read the repository",
            "refused": ", as the release did not pass there",
            "left": ", as it was rolled back there",
            "": ", and has never asked for updates",
        }.get(outcome, "")
        text = f"behind: has {group[0]} {version}, should have {group[2]}{why}"
        found[name] = [Reason("behind", 42 if why else 34, text, "update it: edgedx install --from, or send a stick")]
    return found


def _unlike(summaries: Sequence[Summary]) -> dict[str, list[Reason]]:
    """Against the others of its profile: refusals, and the time that an image takes."""
    groups: dict[str, list[Summary]] = {}
    for one in summaries:
        if one.model is not None and one.scanner is not None:
            groups.setdefault(one.model.profile, []).append(one)
    found: dict[str, list[Reason]] = {}
    for profile, members in groups.items():
        for measure, least, text, do in _MEASURES:
            values = {one.box: value for one in members if (value := measure(one)) is not None}
            if len(values) < FEW:
                continue
            middle = statistics.median(values.values())
            wide = 1.4826 * statistics.median(abs(value - middle) for value in values.values())
            for one in members:
                value = values.get(one.box)
                if value is not None and value - middle > max(FAR * wide, least(middle)):
                    weight = min(59.0, 38 + 2 * (value - middle) / max(least(middle), 1e-9))
                    reason = Reason("unlike", weight, text(one, value, middle, profile), do)
                    found.setdefault(one.box, []).append(reason)
    return found


def _refused_share(summary: Summary) -> float | None:
    counts = summary.scanner.results if summary.scanner else {}
    total = sum(counts.values())
    return (
        sum(n for code, n in counts.items() if not code.startswith("done")) / total if total >= LEAST_IMAGES else None
    )


def _seconds(summary: Summary) -> float | None:
    return summary.scanner.seconds_per_image if summary.scanner else None


def _refusal_text(summary: Summary, value: float, middle: float, profile: str) -> str:
    counts = Counter(
        {code: n for code, n in summary.scanner.results.items() if not code.startswith("done")}
        if summary.scanner
        else {}
    )
    most = counts.most_common(1)[0][0].split(" ")[-1] or "without a code"
    return f"refuses {value:.0%} of its images, most often by {most}; the others of {profile}: {middle:.0%}"


def _seconds_text(summary: Summary, value: float, middle: float, profile: str) -> str:
    hot = summary.machine.hottest_c
    heat = f", at {hot:.0f} °C" if hot is not None else ""
    return f"takes {value:.2g} s for an image{heat}; the others of {profile}: {middle:.2g} s"


_Measure = tuple[
    Callable[[Summary], float | None],
    Callable[[float], float],
    Callable[[Summary, float, float, str], str],
    str,
]
_MEASURES: tuple[_Measure, ...] = (
    (_refused_share, lambda middle: 0.15, _refusal_text, "ask what they send: another device, other settings?"),
    (
        _seconds,
        lambda middle: 1.5 * middle,
        _seconds_text,
        "is it hot, on a low power mode, or busy?",
    ),
)
