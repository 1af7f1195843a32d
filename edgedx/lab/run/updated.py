"""A run that updates another one: what it was made from, and whether it may replace what is deployed.

``update.json`` in the run says what it was made from; ``devices/PROFILE/update/verdict.json`` what was decided about
the build for one kind of device. `edgedx update` writes both, `edgedx deploy` and the report read them here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedx.core.errors import GateRefused
from edgedx.core.files import read_json, write_json, write_text

from .device_build import DeviceBuild
from .renew import UPDATE as UPDATE
from .run import Run

VERDICT, CHANGES = "verdict.json", "CHANGES.md"


def read_update(run: Run) -> dict[str, Any] | None:
    """``update.json``; None where the run updates no other."""
    path = run.path / UPDATE
    found: dict[str, Any] | None = read_json(path) if path.is_file() else None
    return found


def write_update(run: Run, facts: dict[str, Any]) -> None:
    """Keep what a run was made from, and the log of changes for people."""
    write_text(run.path / CHANGES, changes_text(facts))
    write_json(run.path / UPDATE, facts)


def keep_verdict(build: DeviceBuild, verdict: dict[str, Any], forced: str | None) -> dict[str, Any]:
    """Keep a verdict on what is compiled now, and the reason of somebody who ships against it."""
    told = {**verdict, "compressed": build.record["fingerprint"], "forced": forced if not verdict["passed"] else None}
    write_json(build.update_folder / VERDICT, told)
    return told


def read_verdict(build: DeviceBuild) -> dict[str, Any] | None:
    """The verdict on what is compiled now; None where there is none of these very variants."""
    path = build.update_folder / VERDICT
    if not path.is_file():
        return None
    found: dict[str, Any] = read_json(path)
    return found if found["compressed"] == build.record["fingerprint"] else None


def bundles_of(run: Run) -> list[str]:
    """Digests of the bundles made in the run, and in those that it updates: answers to any of them count."""
    own = [str(record["metrics"]["digest"]) for build in run.builds if (record := build.bundle_record) is not None]
    return list(dict.fromkeys([*own, *((read_update(run) or {}).get("bundles", []))]))


def update_facts(run: Run, build: DeviceBuild, *, force: bool) -> dict[str, float | bool | str]:
    """What a bundle says of being an update; nothing where the run is none.

    Raises
    ------
    GateRefused
        It was not judged against the deployed model, or that said no, and nobody forced it.
    """
    facts = read_update(run)
    if facts is None:
        return {}
    verdict = read_verdict(build)
    if verdict is None:
        if force:
            return {"update_of": facts["of"]["version"], "update_passed": False, "update_forced": "not judged"}
        raise GateRefused(
            f"{run} updates {facts['of']['name']} and was not judged against it for {build.profile}",
            next_step=f"repeat the `edgedx update` that made {run}",
        )
    told: dict[str, float | bool | str] = {"update_of": facts["of"]["version"], "update_passed": verdict["passed"]}
    told |= {"update_method": facts["method"]}
    for name in ("forgetting", "gain"):
        if (verdict[name] or {}).get("value") is not None:
            told[f"update_{name}"] = float(verdict[name]["value"])
    if not verdict["passed"]:
        if not (force or verdict["forced"]):
            raise GateRefused(
                f"the update may not replace {verdict['against']}: {verdict['sentence']}",
                next_step="more answers, or another method (--method); or `edgedx update ... --anyway REASON`, "
                "which is recorded",
            )
        told["update_forced"] = verdict["forced"] or "deploy --force"
        told["update_refused"] = verdict["sentence"]
    return told


def changes_text(facts: dict[str, Any]) -> str:
    """The log of changes as Markdown, newest first."""
    lines = ["# Changes", "", "Written by `edgedx update`. Research software, not a medical device.", ""]
    for one in reversed(facts["changes"]):
        lines += [f"## Version {one['version']}" + (f", {one['date']}" if one["date"] else ""), ""]
        lines += [f"- {text}" for text in one["items"]]
        lines += [""]
    return "\n".join(lines)


def changes_file(run: Run) -> Path | None:
    """The log of changes, where there is one."""
    path = run.path / CHANGES
    return path if path.is_file() else None
