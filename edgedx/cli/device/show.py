"""What the commands of this family print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgedx.cli.common import command_line, line, print_json, print_table, printable, remark, warn

if TYPE_CHECKING:
    from edgedx.api.prediction import ImagePrediction
    from edgedx.device.install.status import DeviceStatus, SlotStatus
    from edgedx.lab.remote.push import Pushed

_ORIGINS = {"cache": "the cache", "bundle": "the bundle", "built": "NVIDIA's builder"}


def installed(done: Any, *, json: bool) -> None:
    """What is active now."""
    if json:
        print_json({"schema_version": 1, **asdict(done), "current": str(done.current)})
        return
    line("installed", f"{done.name}, {done.variant}, digest {done.digest[:16]}{', as before' * done.already}")
    line("signed by", done.signed_by or "nobody")
    line("golden", f"test images of the bundle: logits differ by {done.golden_difference:.2g} at most on this machine")
    line("slot", f"{done.slot}{'' if done.already else '; on trial until it has answered an image'}")
    line("next", command_line("scan", "INBOX", "--bundle", done.current, "--out", "OUT"))


def rolled_back(done: Any, *, json: bool) -> None:
    """What is active again."""
    if json:
        print_json({"schema_version": 1, **asdict(done), "current": str(done.current)})
        return
    line("active", f"{done.name}, slot {done.slot}, digest {done.digest[:16]}")
    line("left", done.left or "a slot that could not be read")
    line("golden", f"test images of the bundle: logits differ by {done.golden_difference:.2g} at most on this machine")
    line("next", "restart the scanner: it keeps what it opened")


def status(state: DeviceStatus, *, json: bool) -> None:
    """Both slots, versions that are refused, keys, engines and the last events."""
    if json:
        print_json(status_document(state))
        return
    if state.active is None:
        line("active", "nothing")
    else:
        _slot("active", state.active)
    if state.trial_starts is not None:
        unfinished = f"{state.trial_starts} of {state.trial_limit} starts did not end in order"
        line("trial", f"no image answered yet; {unfinished}")
    if state.other is not None:
        _slot("other", state.other)
    for name, version in state.ratchet.items():
        line("refuses", f"{name} below version {version}, the highest that was active")
    line("trusts", ", ".join(str(key) for key in state.keys) or "no key: unsigned bundles with --allow-unsigned")
    for engine in state.engines:
        line("engine", engine)
    for event in state.history[-5:]:
        tail = f": {event.why}" if event.why else ", UNSIGNED" if event.unsigned else ""
        typer.echo(printable(f"{event.at}  {event.action} {event.name} {event.version} in slot {event.slot}{tail}"))


def status_document(state: DeviceStatus) -> dict[str, Any]:
    """The status as JSON."""
    return {
        "schema_version": 1,
        **asdict(state),
        "keys": [{"id": key.id, "name": key.name} for key in state.keys],
        "history": [event.model_dump(mode="json") for event in state.history],
    }


def _slot(title: str, slot: SlotStatus) -> None:
    if slot.name is None:
        line(title, f"slot {slot.slot}: DAMAGED: {slot.problem}")
        return
    age = "" if slot.age_days is None else f", installed {slot.age_days:.1f} days ago"
    digest = (slot.digest or "")[:16]
    line(title, f"{slot.name} {slot.version}, {slot.variant}, slot {slot.slot}, digest {digest}")
    line("", f"made for {slot.profile}, signed by {slot.signed_by or 'NOBODY that is trusted'}{age}")
    if slot.threshold:
        limits = ", ".join(f"{name} {value:.4g}" for name, value in slot.threshold.items())
        local = slot.threshold_origin == "local"
        whose = "THIS SITE'S OWN, see `edgedx threshold show`" if local else "the bundle's own"
        line("", f"threshold {limits}: {whose}")
    if slot.problem:
        line("", f"CANNOT BE USED: {slot.problem}")


def pushed(done: Pushed, *, json: bool) -> None:
    """One line for each thing found on the device; exits with 1 where its gate said no."""
    if json:
        verdict = done.verdict.to_dict() if done.verdict else None
        print_json({"schema_version": 1, **asdict(done), "verdict": verdict})
    else:
        print_table(("", ""), _pushed_rows(done))
    if done.verdict and not done.verdict.passed:
        remark(f"error: the gate on {done.host} says no: {done.verdict.sentence}")
        raise typer.Exit(1)


def _pushed_rows(done: Pushed) -> list[tuple[str, str]]:
    facts, verdict = done.facts, done.verdict
    warnings = [item["name"] for item in done.doctor["findings"] if item["status"] == "warning"]
    warned = f"; warns of {', '.join(warnings)}" if warnings else ""
    rows = [
        ("device", f"{done.host}: {done.latency['machine']}, Python {facts.python}, {facts.arch}"),
        ("doctor", f"fit, profile {done.doctor['profile']}{warned}"),
        ("bundle", f"{done.installed['name']}, {done.installed['variant']}, digest {done.installed['digest'][:16]}"),
        ("signed by", done.installed["signed_by"] or "NOBODY that the device trusts"),
        (
            "golden samples",
            f"test images of the bundle: logits differ by {done.installed['golden_difference']:.2g} at most",
        ),
        ("latency P50", f"{done.latency['p50_ms']:.2f} ms, inference of one image ({done.latency['provider']})"),
    ]
    if verdict:
        rows += [
            ("labelled samples", f"{verdict.answered} of {verdict.samples} answered"),
            *((f"{name} there", f"{here}; the bundle promises {promised}") for name, here, promised in verdict.rows()),
            ("P50 with decoding", f"{verdict.image_ms:.1f} ms an image, {verdict.infer_ms:.2f} ms of it inference"),
            ("gate", f"{'passed' if verdict.passed else 'NO'}: {verdict.sentence}"),
        ]
    if done.rolled_back:
        rows.append(("active again", done.rolled_back))
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in done.seconds.items() if name != "total")
    rows += [
        ("ready in", f"{done.seconds['total']:.1f} s ({steps}); {done.sent_bytes / 1e6:.1f} MB sent"),
        ("next, there", f"{facts.root}/venv/bin/edgedx scan INBOX --bundle {facts.root}/bundle/current --out OUT"),
    ]
    return rows


def engine(done: Any, difference: float, path: Path, *, json: bool) -> None:
    """The engine that is used from now on."""
    report = done.report
    if json:
        print_json(
            {
                "schema_version": 1,
                "key": asdict(done.key),
                "origin": done.origin,
                "why": done.why,
                "bytes": len(done.plan),
                "golden_difference": difference,
                "path": str(path) if path.is_file() else None,
                "report": asdict(report) if report else None,
            }
        )
        return
    line("engine", f"{len(done.plan) / 1e6:.2f} MB, {done.key.precision}, from {_ORIGINS[done.origin]}")
    line("golden", f"test images of the bundle: logits differ by {difference:.2g} at most on this machine")
    if report is not None:
        line("built", f"in {report.seconds:.0f} s, {report.peak_mb:.0f} MiB, because {done.why}")
    if not path.is_file() and done.origin == "built":
        warn("it could not be kept: the next start builds it again")


def engines(entries: Iterable[tuple[Path, Any]], root: Path, *, json: bool) -> None:
    """One line for each engine that is kept."""
    rows: list[dict[str, Any]] = [
        {"file": path.name, "bytes": path.stat().st_size, "key": asdict(key) if key else None} for path, key in entries
    ]
    if json:
        print_json({"schema_version": 1, "engines": rows})
        return
    for row in rows:
        key = row["key"]
        what = f"{key['precision']}, {key['runtime']} {key['runtime_version']}, {key['gpu']}" if key else "damaged"
        typer.echo(printable(f"{row['file'][:16]}  {row['bytes'] / 1e6:8.2f} MB  {what}"))
    if not rows:
        remark(f"no engine below {root}")


def new_key(key: Any, secret: Path, public: Path, *, json: bool) -> None:
    """Where the halves of a new key are."""
    if json:
        print_json({"schema_version": 1, "id": key.id, "name": key.name, "key": str(secret), "pub": str(public)})
        return
    line("key", key)
    line("secret", f"{secret}: keep it off devices, and a copy off this machine")
    line("next", command_line("deploy", "RUN", "--sign", secret))
    line("", f"{command_line('keys', 'pin', public, '--root', 'DIR')}    (on each device)")


def signed(bundle: Path, ids: Sequence[str], *, json: bool) -> None:
    """Who has signed a bundle."""
    if json:
        print_json({"schema_version": 1, "bundle": str(bundle), "signatures": list(ids)})
        return
    line("signed", f"{bundle} by {', '.join(ids)}")


def pinned(what: str, key: Any, count: int, *, json: bool) -> None:
    """A key that is trusted from now on, or no longer."""
    if json:
        print_json({"schema_version": 1, "id": key.id, "name": key.name, "pinned": count})
        return
    line(what, f"{key}; {count} trusted now")


def keys(trusted: Sequence[Any], root: Path, *, json: bool) -> None:
    """The keys that a device trusts."""
    if json:
        print_json({"schema_version": 1, "keys": [{"id": key.id, "name": key.name} for key in trusted]})
        return
    for key in trusted:
        typer.echo(printable(f"{key.id}  {key.name}"))
    if not trusted:
        remark(f"{root} trusts no key")


def predictions(found: Sequence[ImagePrediction], model: str, *, json: bool) -> None:
    """A line for each image: what was decided, how probable each class is, and remarks."""
    from edgedx.core.result import NOT_A_MEDICAL_DEVICE

    if json:
        print_json({"schema_version": 1, "model": model, "predictions": [one.to_dict() for one in found]})
        return
    rows = []
    for one in found:
        remarks = [one.reason] if one.reason else []
        remarks += [one.frame_rule or f"frame {one.frame} was read"] if one.frame and not one.reason else []
        remarks += ["unlike the training images"] if one.out_of_distribution and not one.reason else []
        remarks += [f"not checked, the file does not say it: {', '.join(one.not_checked)}"] if one.not_checked else []
        probabilities = ", ".join(f"{name} {value:.2f}" for name, value in one.probabilities.items())
        rows.append((one.source, one.label or one.status, probabilities or "-", "; ".join(remarks)))
    line("model", model)
    if (answered := next((one for one in found if one.threshold), None)) is not None:
        limits = ", ".join(f"{name} {value:.4g}" for name, value in answered.threshold.items())
        whose = "this site's own" if answered.origin == "local" else f"the bundle's, {answered.operating_point}"
        line("threshold", f"{limits}; {whose}")
    print_table(("image", "decision", "probabilities", "remarks"), rows, width=140)
    typer.echo(NOT_A_MEDICAL_DEVICE)
