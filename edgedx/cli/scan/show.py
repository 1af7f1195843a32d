"""What the commands of ``edgedx scan`` print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgedx.cli.common import command_line, line, print_json, print_table, printable, remark

if TYPE_CHECKING:
    from edgedx.core.settings.pacs import PacsSettings
    from edgedx.device.operation.service import ScanJob, Scanned
    from edgedx.device.pacs.peer import Peer
    from edgedx.device.pacs.receiver import Listen


def scanned(outcome: Scanned, job: ScanJob, *, json: bool) -> None:
    """The summary; exits with 5 where files wait that could not be opened, with 130 where --once was stopped."""
    if json:
        print_json(
            {
                "schema_version": 1,
                "read_now": dict(outcome.read_now),
                "waiting": outcome.waiting,
                "ledger": dict(outcome.ledger),
                "seconds": round(outcome.seconds, 2),
                "out": str(job.out),
            }
        )
    else:
        counts = "  ".join(f"{name} {count}" for name, count in outcome.read_now.items())
        typer.echo(f"{counts}  in {outcome.seconds:.1f} s")
        line("results", f"{job.out / 'results.csv'}, {job.out / 'results'}")
        if job.sr or job.sc:
            objects(job.out)
        if outcome.read_now["quarantined"]:
            line("next", f"look at {job.out / 'quarantine'}: each file has its reason beside it")
    if outcome.waiting and not outcome.stopped:
        remark(f"error: {outcome.waiting} files could not be opened, or are still being written")
        remark("next:  check their owner, then start again; what was read is kept")
        raise typer.Exit(5)
    if outcome.absent:
        remark(f"{outcome.absent} files that were seen earlier are not in the inbox; they wait for it")
    if outcome.stopped:
        _stopped(job)


def _stopped(job: ScanJob) -> None:
    """What a signal left; to watch until then is what was asked for, to read what is there (--once) is not done."""
    import sys

    from edgedx.core.errors import Stopped

    kept, again = f"what was read is kept in {job.out}", command_line(*sys.argv[1:])
    if job.once:
        raise Stopped(f"stopped: {kept}", next_step=again)
    remark(f"stopped: {kept}")
    remark(f"next:  {again}")


def objects(out: Path) -> None:
    """Where the DICOM objects are, and what of them the PACS has."""
    from edgedx.device.pacs.outbox import counts_of, folder_of

    line("objects", folder_of(out))
    warnings = len(list(folder_of(out).glob("*.warning.json")))
    if warnings:
        line("warning", f"{warnings} results without an object: look at *.warning.json there")
    if (counts := counts_of(out)) is not None:
        line("PACS", _counts(counts))


def outbox(counts: dict[str, int], failed: Sequence[Any], again: int, out: Path, *, json: bool) -> None:
    """What waits, what was sent, what failed."""
    if json:
        print_json({"schema_version": 1, **counts, "retried": again, "failures": [asdict(one) for one in failed]})
        return
    line("queued", f"{counts['queued']} ({counts['queued_bytes'] / 1e6:.1f} MB)")
    line("sent", counts["sent"])
    line("failed", f"{counts['failed']}" + (f", {again} queued again" if again else ""))
    for one in failed[:20]:
        typer.echo(printable(f"  {one.file}  {one.code}  after {one.attempts} attempts"))
    if failed:
        line("next", f"see docs/dicom-outputs.md for the codes; then {command_line('scan', 'outbox', out, '--retry')}")


def quarantine(left: Sequence[Any], moved: Sequence[Path], *, json: bool) -> None:
    """What was put back, and what is left in quarantine."""
    if json:
        rows = [{**asdict(one), "path": str(one.path)} for one in left]
        print_json({"schema_version": 1, "moved": [str(path) for path in moved], "quarantined": rows})
        return
    if moved:
        line("moved", f"{len(moved)} back into the inbox")
    line("left", f"{len(left)} in quarantine" if left else "nothing is in quarantine")
    if not moved:
        for one in left:
            typer.echo(printable(f"  {one.key}  {one.code or '-'}  {one.name or one.path.name}"))


def exported(summary: Any, selected: int, out: Path, to: Path, *, json: bool) -> None:
    """How many copies were written, and why others were not."""
    from edgedx.device.export.deidentified_copies import KEY

    if json:
        print_json({"schema_version": 1, "written": summary.written, "left_out": dict(summary.left_out), "to": str(to)})
        return
    line("written", f"{summary.written} of {selected} to {to}")
    for code, count in sorted(summary.left_out.items()):
        line("left out", f"{count} {code}")
    line("next", f"look at what you give away; {out / KEY} can tell who they are and stays here")


def audit(chain: Any, log: Path, *, noted: bool, json: bool) -> None:
    """Whether the chain is intact."""
    if json:
        print_json({"schema_version": 1, "intact": chain.intact, **asdict(chain)})
        return
    for one in chain.aside:
        line("aside", f"{log.parent / one.file}: {one.problem or 'as it was when it was put aside'}")
        line("", f"its SHA-256: {one.sha256}")
    if chain.broken_line is None:
        line("intact", f"{chain.lines} events in {log}")
        line("head", chain.head)
        if chain.torn:
            line("note", "the last line has no end, as a crash leaves it; the next scanner records that")
        if not noted:
            line("next", "note the head elsewhere: only with it are lines missed that were cut off the end")
    else:
        line("broken", f"{log}, line {chain.broken_line}: {chain.problem}")
        line("", f"the {chain.lines} lines before it are as they were written")


def pacs_fields(rows: Sequence[tuple[str, str]]) -> None:
    """Every field of the file of --pacs."""
    print_table(("field", "meaning"), rows, width=140)


def pacs(peer: Peer | None, listen: Listen | None, settings: PacsSettings, file: Path) -> None:
    """What a scanner would do with the file."""
    line("title", f"{settings.ae_title} (ours)")
    if peer is not None:
        line("send", f"reports and pictures to {peer.called} at {peer.host}, port {peer.port}; {_tls(peer.authority)}")
    if listen is not None:
        allowed = ", ".join(listen.calling) or "ANYONE"
        line("receive", f"on {listen.host}, port {listen.port}, from {allowed}; {_tls(listen.certificate)}")
    objects_wanted = ["--sr", "--sc"] if peer is not None else []
    line("next", command_line("scan", "INBOX", "--bundle", "DIR", "--out", "OUT", *objects_wanted, "--pacs", file))


def _tls(file: Path | None) -> str:
    return "without TLS" if file is None else "with TLS"


def status(state: dict[str, Any], problems: list[str], out: Path, *, json: bool) -> None:
    """State, model, results by code, what waits, and the disk."""
    from edgedx.device.operation.heartbeat import light_of

    if json:
        print_json({**state, "complaints": problems})
        return
    age = "" if state["age_seconds"] is None else f", heartbeat {_ago(state['age_seconds'])} ago"
    known = state["running"] or state["state"] == "finished"
    line("scanner", f"{state['state'] if known else 'not running'}{age}")
    line("model", f"{state['model']}, {state['variant']} on {state['provider']}; bundle {state['bundle'][:12]}")
    if state.get("threshold"):
        limits = ", ".join(f"{name} {value:.4g}" for name, value in state["threshold"].items())
        whose = "this site's own" if state["origin"] == "local" else f"the bundle's, {state['operating_point']}"
        line("threshold", f"{limits}; {whose}")
    by_status: dict[str, int] = {}
    for key, count in state["results"].items():
        by_status[key.partition(" ")[0]] = by_status.get(key.partition(" ")[0], 0) + count
    line("results", ", ".join(f"{count} {name}" for name, count in by_status.items()) or "none yet")
    for name in ("refused", "quarantined"):
        codes = {key.partition(" ")[2]: count for key, count in state["results"].items() if key.startswith(name)}
        if codes:
            typer.echo(printable(f"{name:<11} {', '.join(f'{count} {code}' for code, count in codes.items())}"))
    if state["pending"]:
        waited = state["oldest_pending_seconds"]
        line("pending", f"{state['pending']}, the first for {_ago(waited or 0)} at the last beat")
    if state["absent"]:
        line("absent", f"{state['absent']} received files are not in the inbox now")
    if last := state["last_result"]:
        age_now = state["age_seconds"]
        when = "" if age_now is None else f", {_ago(age_now + state['at'] - last['at'])} ago"
        line("last", f"number {last['sequence']}, {last['status']} {last['code'] or ''}".rstrip() + when)
    if counts := state["outbox"]:
        line("PACS", _counts(counts))
    if (light := light_of(state)) is not None:
        line("monitor", f"{light.colour}: {' '.join(light.sentences())}")
    kept = state["retention"]
    if kept["swept"] is not None:
        stays = ", ".join(f"{count} {why}" for why, count in kept["kept_over_limit"].items())
        line("removed", f"{sum(kept['removed'].values())} results, {kept['removed_bytes'] / 1e9:.1f} GB, by retention")
        line("kept", f"{kept['bytes'] / 1e9:.1f} GB{f'; over the limit, and kept: {stays}' if stays else ''}")
    line("disk", f"{state['disk_free'] >> 20} MiB free, floor {state['disk_floor'] >> 20} MiB")
    if any(key.startswith("quarantined") for key in state["results"]):
        line("next", f"look at {out / 'quarantine'}: each file has its reason beside it")


def _counts(counts: dict[str, int]) -> str:
    return f"sent {counts['sent']}, queued {counts['queued']}, failed {counts['failed']}"


def _ago(seconds: float) -> str:
    return str(timedelta(seconds=max(0, round(seconds))))
