"""The page about all devices: in ten seconds, whom to call. One file, no script, nothing fetched; with a JSON twin."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedx._version import __version__
from edgedx.core.errors import DependencyMissing, UsageError
from edgedx.core.files import write_json, write_text

from .boxes import Fleet, expected, read_fleet, spread
from .judge import CALL, Judged, judge

FIRST = 10
MANY = 0.2
"""Share of silent devices from which on the way of the news is suspected, and not the devices."""
KINDS = {
    "trouble": ("in trouble", "red light, scanner down, disk full"),
    "silent": ("silent", "no news"),
    "behind": ("behind", "an old version where others have the new one"),
    "unlike": ("unlike the rest", "more refusals or slower than its kind"),
}
_STYLE = Path(__file__).parents[1] / "evidence" / "report" / "templates"


@dataclass(frozen=True)
class Reported:
    """A page that was written, and what stands at its top."""

    page: Path
    devices: int
    to_call: int
    by_kind: dict[str, int]
    first: tuple[Judged, ...]
    unreadable: int


def write_report(
    folder: Path,
    page: Path,
    *,
    boxes: Path | None = None,
    repo: Path | None = None,
    silent_days: float = 7.0,
    now: float | None = None,
) -> Reported:
    """Read every status below `folder` and write the page and its twin.

    Parameters
    ----------
    boxes : Path, optional
        Folder with the devices' public keys: those that are missing are silent, and others are not believed.
    repo : Path, optional
        Repository, for what each device should have.
    now : float, optional
        Seconds since 1970.

    Raises
    ------
    UsageError
        `page` does not end in .html.
    DependencyMissing
        Jinja2 is missing.
    InputOutputError
        There is nothing to report on.
    """
    if page.suffix != ".html":
        raise UsageError(f"{page} does not end in .html", next_step="--out FILE.html; its twin gets .json")
    moment = time.time() if now is None else now
    fleet = read_fleet(folder, boxes, now=moment)
    judged = judge(fleet, expected(fleet, _releases(repo)), silent_days=silent_days)
    facts = _facts(fleet, judged, moment, keys=boxes is not None, silent_days=silent_days)
    write_text(page, _render(facts))
    write_json(page.with_suffix(".json"), _document(facts, judged))
    called = [one for one in judged if one.call]
    return Reported(page, len(judged), len(called), facts["by_kind"], tuple(called[:FIRST]), len(fleet.unreadable))


def _releases(repo: Path | None) -> Any:
    if repo is None:
        return None
    from edgedx.device.fleet.terms import require_tuf

    require_tuf()
    from .publish import contents

    return contents(repo)[0]


def _facts(fleet: Fleet, judged: list[Judged], moment: float, *, keys: bool, silent_days: float) -> dict[str, Any]:
    called = [one for one in judged if one.call]
    by_kind = Counter(one.reasons[0].kind for one in called)
    versions = {
        name: [(version, count, count / sum(n for _, n in found)) for version, count in found]
        for name, found in spread(fleet).items()
    }
    return {
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment)),
        "edgedx": __version__,
        "devices": len(judged),
        "called": called,
        "first": called[:FIRST],
        "rest": called[FIRST:],
        "well": len(judged) - len(called),
        "by_kind": {kind: by_kind.get(kind, 0) for kind in KINDS},
        "kinds": KINDS,
        "judged": sorted(judged, key=lambda one: one.name),
        "versions": versions,
        "unreadable": fleet.unreadable,
        "keys": keys,
        "silent_days": silent_days,
        "outage": by_kind.get("silent", 0) > MANY * len(judged),
        "images": sum(sum(one.summary.scanner.results.values()) for one in fleet.heard.values() if one.summary.scanner),
    }


def _render(facts: dict[str, Any]) -> str:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise DependencyMissing(
            "the page needs Jinja2, which is not installed", next_step="pip install Jinja2"
        ) from error
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).with_name("templates"), _STYLE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ago"] = ago
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment.get_template("fleet.html").render(**facts)


def ago(days: float) -> str:
    """How long ago, as one says it."""
    if days < 1 / 24:
        return f"{days * 1440:.0f} min ago"
    return f"{days * 24:.0f} h ago" if days < 2 else f"{days:.0f} days ago"


def _document(facts: dict[str, Any], judged: list[Judged]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "written": facts["written"],
        "devices": facts["devices"],
        "to_call": len(facts["called"]),
        "by_kind": facts["by_kind"],
        "weight_of_a_call": CALL,
        "unreadable": facts["unreadable"],
        "boxes": [
            {
                "name": one.name,
                "weight": round(one.weight, 1),
                "call": one.call,
                "reasons": [asdict(reason) for reason in one.reasons],
                "age_days": None if one.heard is None else round(one.heard.age_days, 2),
                "proven": one.heard is not None and one.heard.proven,
                "status": None if one.heard is None else one.heard.summary.model_dump(mode="json"),
            }
            for one in judged
        ],
    }
