"""What the commands of this family print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgedx.cli.common import command_line, line, print_json, print_table, remark

if TYPE_CHECKING:
    from edgedx.device.fleet.status import Told
    from edgedx.device.fleet.terms import Release
    from edgedx.device.fleet.trust import Trusted
    from edgedx.device.fleet.update import Updated
    from edgedx.lab.fleet.publish import Published, RoleStatus
    from edgedx.lab.fleet.report import Reported
    from edgedx.lab.fleet.rotate import Rotated
    from edgedx.lab.fleet.start import Created


def created(done: Created, repo: Path, *, json: bool) -> None:
    """Where root and keys are, and whose they are."""
    if json:
        keys = {role: [str(path) for path in paths] for role, paths in done.keys.items()}
        print_json({"schema_version": 1, "root": str(done.root), "threshold": done.threshold, "keys": keys})
        return
    line("made", f"{repo}: serve this folder, or copy it to sticks")
    offline = done.keys["root"][0].parent
    line("offline", f"{offline}: {done.threshold} of {len(done.keys['root'])} root keys must sign, and the one of "
         "targets; carry each to another safe")  # fmt: skip
    line("release", f"{done.keys['releases'][0].parent}: whoever publishes")
    line("online", f"{done.keys['snapshot'][0].parent}: the machine that refreshes")
    line("next", command_line("fleet", "trust", done.root, "--root", "DIR", "--box", "NAME") + "   on each device")


def published(done: Published, repo: Path, *, json: bool) -> None:
    """The release that is offered now."""
    from edgedx.device.fleet.terms import RINGS

    release = done.release
    if json:
        print_json({"schema_version": 1, **_release(release), "file": str(done.file)})
        return
    line("published", f"{release.title}, {release.length / 1e6:.2f} MB, to {release.facts.ring} % of the devices")
    name = f"{release.facts.name}-{release.facts.version}"
    if (wider := next((one for one in RINGS if one > release.facts.ring), None)) is not None:
        line("next", command_line("fleet", "ring", repo, name, wider, "--keys", "FOLDER") + "   when those do well")


def rings(done: Sequence[Release], *, json: bool) -> None:
    """Whom each release is offered to."""
    if json:
        print_json({"schema_version": 1, "releases": [_release(one) for one in done]})
        return
    for one in done:
        line(
            "offered",
            f"{one.title}, to {one.facts.ring} % of the devices" if one.facts.ring else f"{one.title}: withdrawn",
        )


def refreshed(done: RoleStatus, *, json: bool) -> None:
    """Until when."""
    if json:
        print_json({"schema_version": 1, "version": done.version, "expires": f"{done.expires:%Y-%m-%dT%H:%M:%SZ}"})
        return
    line("fresh", f"until {done.expires:%Y-%m-%d}: devices refuse copies of today after that")


def rotated(done: Rotated, repo: Path, *, json: bool) -> None:
    """What was signed, or who has yet to."""
    if json:
        role = {**asdict(done.role), "expires": f"{done.role.expires:%Y-%m-%dT%H:%M:%SZ}"}
        print_json({"schema_version": 1, "versions": dict(done.saved.versions), "missing": list(done.saved.missing),
                    "role": role})  # fmt: skip
        return
    line("role", f"{done.role.role}: {done.role.threshold} of {', '.join(done.role.keys)}")
    if done.saved.missing:
        line("waits", f"in {repo}/pending, for {'; and for '.join(done.saved.missing)}")
        line("next", command_line("fleet", "sign", repo, "--keys", "FOLDER"))
        return
    line("signed", ", ".join(f"{role} {version}" for role, version in done.saved.versions.items()))
    if "releases" in done.saved.versions:
        line("vouched", f"the release keys sign for {', '.join(done.releases) or 'nothing'}: look whether all is yours")
    line("next", "copy the repository to the server, or to new sticks")


def contents(releases: Sequence[Release], roles: Sequence[RoleStatus], waits: bool, *, json: bool) -> None:
    """Releases and roles."""
    if json:
        told = [{**asdict(one), "expires": f"{one.expires:%Y-%m-%dT%H:%M:%SZ}"} for one in roles]
        print_json(
            {"schema_version": 1, "releases": [_release(one) for one in releases], "roles": told, "pending": waits}
        )
        return
    if releases:
        print_table(
            ("release", "version", "profile", "MB", "% of devices"),
            [
                (one.facts.name, one.facts.version, one.facts.profile, f"{one.length / 1e6:.2f}",
                 one.facts.ring or "withdrawn")
                for one in releases
            ],
        )  # fmt: skip
    else:
        line("releases", "none yet: edgedx fleet publish")
    typer.echo("")
    print_table(
        ("role", "version", "days left", "must sign", "of these keys"),
        [(one.role, one.version, one.days_left, one.threshold, ", ".join(one.keys)) for one in roles],
    )
    if waits:
        remark("a change of keys waits for signatures: edgedx fleet sign REPO --keys FOLDER")


def trusted(done: Trusted, root: Path, *, json: bool) -> None:
    """Whom this device trusts, and who it is."""
    if json:
        print_json({"schema_version": 1, **asdict(done), "public": str(done.public)})
        return
    line("trusts", f"root {done.version}, {done.threshold} of {', '.join(done.keys)}; good until {done.expires}")
    line("box", f"{done.box}, at {done.place:.1f} % in the rings: it takes what is out to more than that")
    line("key", f"{done.public}: carry it to whoever reads the report (--boxes)")
    line("next", command_line("install", "--from", "URL_OR_DIR", "--root", root))


def updated(done: Updated, *, json: bool) -> None:
    """Why nothing was installed; what was is told by `device.show.installed`."""
    if json:
        installed = (
            None if done.installed is None else {**asdict(done.installed), "current": str(done.installed.current)}
        )
        print_json({"schema_version": 1, "outcome": done.outcome, "why": done.why, "expires": done.expires,
                    "release": _release(done.release), "installed": installed})  # fmt: skip
        return
    line({"current": "current", "later": "later", "installed": "update"}.get(done.outcome, "nothing"), done.why)
    line("fresh", f"the repository is good until {done.expires[:10]}")
    if done.outcome in ("left", "refused"):
        line("next", "make the fixed model with a higher version; --again tries this one once more")


def told(done: Told, *, json: bool) -> None:
    """What was said, and where it went."""
    if json:
        print_json({"schema_version": 1, "file": str(done.file), "delivered": done.delivered, "bytes": done.bytes,
                    "status": done.summary.model_dump(mode="json")})  # fmt: skip
        return
    summary = done.summary
    model = f"{summary.model.name} {summary.model.version}" if summary.model else "no model"
    count = sum(summary.scanner.results.values()) if summary.scanner else 0
    light = summary.light.colour if summary.light else "none"
    line("status", f"number {summary.sequence} of {summary.box}: {model}, {count} images, light {light}")
    line("troubles", ", ".join(summary.troubles) or "none")
    line("written", f"{done.delivered or done.file}, {done.bytes} bytes")


def reported(done: Reported, *, json: bool) -> None:
    """The top of the page; exits with 1 where somebody must be called."""
    from edgedx.lab.fleet.report import KINDS

    if json:
        first = [{"name": one.name, "reasons": [reason.text for reason in one.reasons]} for one in done.first]
        print_json({"schema_version": 1, "page": str(done.page), "devices": done.devices, "to_call": done.to_call,
                    "by_kind": done.by_kind, "first": first, "unreadable": done.unreadable})  # fmt: skip
    else:
        line("written", done.page)
        kinds = ", ".join(f"{count} {KINDS[kind][0]}" for kind, count in done.by_kind.items() if count)
        line("call", f"{done.to_call} of {done.devices} devices{': ' + kinds if kinds else ''}")
        if done.first:
            print_table(("", ""), [(one.name, "; ".join(reason.text for reason in one.reasons)) for one in done.first])
        if done.unreadable:
            remark(f"{done.unreadable} status files are not believed: see the page")
    if done.to_call:
        raise typer.Exit(1)


def _release(release: Release) -> dict[str, Any]:
    return {"path": release.path, "sha256": release.sha256, "bytes": release.length, **release.facts.model_dump()}
