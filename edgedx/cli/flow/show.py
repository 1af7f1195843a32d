"""What the commands of the flow print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgedx.cli.common import (
    command_line,
    interval,
    line,
    print_json,
    print_table,
    printable,
    synthetic_note,
    tell,
    warn,
)

if TYPE_CHECKING:
    from edgedx.core.settings.profile import DeviceProfile
    from edgedx.core.settings.recipe import Recipe
    from edgedx.core.stats.gate import Verdict
    from edgedx.device.clinic.promise import ClinicEvaluation
    from edgedx.lab.data.start.guess import Guess


def started(guess: Guess, text: str, path: Path, *, json: bool) -> None:
    """The recipe that was written, and what to look at before it is used."""
    if json:
        print_json({**guess.to_dict(), "recipe": str(path)})
        return
    typer.echo(printable(text), nl=False)
    typer.echo("")
    for notice in guess.notices:
        line("look at", notice)
    line("written", path)
    line("next", command_line("data", "check", path))


def finetuned(record: dict[str, Any], run: Path, recipe: Recipe, *, json: bool) -> None:
    """Data, weights and the teacher's AUC."""
    if json:
        print_json(record)
        return
    from edgedx.lab.data.counts import images_and_patients

    data, metrics = record["data"], record["metrics"]
    reasons = ", ".join(f"{reason}: {count}" for reason, count in data["excluded"].items())
    excluded = f"{sum(data['excluded'].values())} excluded" + (f" ({reasons})" if reasons else "")
    line("data", f"{images_and_patients(data)}; {excluded}")
    for warning in data["warnings"]:
        warn(warning)
    line("weights", metrics["weights_from"])
    if record["reused"]:
        line("teacher", "nothing changed; the finished stage is used (--overwrite trains again)")
    for split in ("val", "test"):
        line(split, f"AUC {interval(metrics[split]['auc'])}")
    synthetic_note(recipe.synthetic)
    line("written", f"{run / 'teacher'} (learning-curves.png, metrics.json)")
    line("next", command_line("compress", run))


def compressed(record: dict[str, Any], run: Path, recipe: Recipe, profile: DeviceProfile, *, json: bool) -> None:
    """The student, each model that was made of it, and which of them is used."""
    if json:
        print_json(record)
        return
    student, variants = record["student"], record["metrics"]["variants"]
    distilled = student["distillation"]
    share = student["macs"] / student["teacher_macs"]
    line("device", f"{profile.name}: {profile.title}")
    line("student", f"{share:.0%} of the teacher's multiply-accumulates, test AUC {interval(student['test']['auc'])}")
    if (teachers := distilled.get("teachers", 1)) > 1:
        line("teachers", f"{teachers}; the student learned the mean of their predictions")
    if more := record.get("unlabeled"):
        left_out = more["files"] - more["images"]
        line("unlabeled", f"{more['images']} images; {left_out} files left out, see {run}/unlabeled/excluded.csv")
    if gain := distilled.get("gain"):
        line("ablation", gain["sentence"])
    for name, entry in variants.items():
        line(name, f"{entry['bytes'] / 1e6:.2f} MB, test AUC {interval(entry['test']['auc'])}{_coded(entry['scheme'])}")
    if quantization := record["metrics"].get("quantization"):
        _quantization(quantization)
    if choice := record["metrics"].get("choice"):
        line("model", f"{choice['variant']} will be used on the device: {choice['reason']}")
    synthetic_note(recipe.synthetic)
    line("next", command_line("deploy", run))


def _coded(scheme: str) -> str:
    """What the second half of ``int8-u8s8`` says."""
    signs = {"u8s8": "unsigned activations", "s8s8": "signed activations"}
    return f"; 8-bit integers, {signs[scheme]}, signed weights" if scheme in signs else ""


def _quantization(record: dict[str, Any]) -> None:
    chosen = record["chosen"]
    bits = 7 if chosen["reduce_range"] else 8
    steps = [name for name, key in (("bias correction", "bias_correction"), ("training", "qat"))
             if record.get(key, {}).get("kept")]  # fmt: skip
    line(
        "INT8",
        f"calibrator {chosen['calibrator']}, {bits}-bit weights{''.join(f', {step}' for step in steps)}; "
        f"noise {chosen['noise']:.3f} against FP32",
    )
    for sentence in record.get("exclusion", {}).get("said", []):
        line("", sentence)
    if record["missed"]:
        line("missed", f"{record['missed']}, on val")


def budget(wanted: Any, recipe: Recipe, profile: DeviceProfile, *, here: bool, json: bool) -> None:
    """What a search has to hold."""
    rows = {
        "device": f"{profile.name}: {profile.title}",
        "budget": f"{wanted.sentence()} ({recipe.gate.rule} on {recipe.gate.split})",
    }
    for label, text in rows.items():
        tell(f"{label:<9} {text}", err=json)
    if wanted.max_latency_ms and not here:
        warn(f"this machine is no {profile.name}: its own latency stands in, and must be measured there")


def plan(lines: list[str], wanted: Any, profile: DeviceProfile, *, here: bool, json: bool) -> None:
    """What a search would do."""
    if json:
        print_json({"schema_version": 1, "device": profile.name, "budget": vars(wanted), "here": here, "plan": lines})
        return
    for text in lines:
        line("plan", text)


def searched(
    report: dict[str, Any], run: Path, recipe: Recipe, profile: DeviceProfile, *, here: bool, json: bool
) -> None:
    """Every candidate of a search, and why one was chosen."""
    from edgedx.lab.compress.search import PICTURE, SUMMARY
    from edgedx.lab.run.run import Run

    if json:
        print_json(report)
        return
    teacher, chosen = report["teacher"], report["chosen"]
    rows: list[list[object]] = [
        ["teacher", "fp32", "100%", f"{teacher['megabytes']:.2f}", f"{teacher['latency_ms']:.2f}", "", ""]
    ]
    for candidate in report["candidates"]:
        kept = (candidate["name"], candidate["variant"]) == (chosen["name"], chosen["variant"])
        over = "over budget: " + ", ".join(candidate["over"]) if candidate["over"] else "fits"
        rows.append(
            [
                *(candidate["name"], candidate["variant"], f"{candidate['macs']:.0%}"),
                *(f"{candidate['megabytes']:.2f}", f"{candidate['latency_ms']:.2f}", f"{candidate['auc_drop']:.4f}"),
                "chosen" if kept else over,
            ]
        )
    titles = ("candidate", "variant", "MACs", "MB", "ms" if here else "ms here", "AUC lost", "")
    print_table(titles, rows, width=120)
    for label, text in zip(("chosen", "why", "wins"), report["explanation"], strict=True):
        line(label, text)
    folder = Run(run).build_for(profile.name).path
    line("pictured", f"{folder / PICTURE}, figures in {folder / SUMMARY}")
    synthetic_note(recipe.synthetic)
    line("next", command_line("deploy", run))


def deployed(record: dict[str, Any], recipe: Recipe, *, json: bool) -> None:
    """The gate's verdict, the bundle, and what to do with it."""
    if json:
        print_json(record)
        return
    metrics = record["metrics"]
    verdict = metrics["gate"]
    line("gate", f"{'passed' if verdict['passed'] else 'FORCED'}: {verdict['sentence']}")
    differ = f"{verdict['flips']} of {verdict['images']} decisions differ from the teacher's"
    line("changed", f"{differ}: {verdict['flips_csv']}")
    line("model", f"{metrics['default']['variant']}: {metrics['default']['reason']}")
    line("bundle", f"{metrics['bundle']} ({metrics['bytes'] / 1e6:.2f} MB)")
    sign = command_line("keys", "sign", metrics["bundle"], "--key", "FILE")
    line("signed", ", ".join(metrics["signatures"]) or f"by nobody yet: {sign}")
    tried = command_line("predict", "IMAGES", "--bundle", metrics["bundle"])
    line("try it", f"{tried}    (here, before it goes anywhere)")
    for engine in metrics["engines"]:
        if "refused" not in engine:
            size = f"{engine['compressed_bytes'] / 1e6:.2f} MB, {engine['seconds']:.1f} s"
            line("engine", f"{engine['variant']} for SM {', '.join(engine['sm'])}: {size}")
    for warning in metrics["warnings"]:
        warn(warning)
    synthetic_note(recipe.synthetic)
    for step in metrics["on_the_device"]:
        line("next", step)
    line("or", f"{command_line('push', metrics['bundle'], 'USER@HOST')}    (over ssh, installs edgedx there too)")


def gated(verdict: Verdict, folder: Path, run: Path, artifact: Path, *, synthetic: bool) -> None:
    """The verdict on a run's own data set."""
    _verdict(verdict)
    line("written", f"{folder / 'gate.json'}, {folder / 'flips.csv'}")
    synthetic_note(synthetic)
    if verdict.passed:
        bundle = artifact.suffix == ".edgedx"
        line("next", command_line("install", artifact, "--root", "DIR") if bundle else command_line("deploy", run))


def gated_samples(
    promise: ClinicEvaluation, verdict: Verdict | None, folder: Path | None, artifact: Path, *, synthetic: bool
) -> None:
    """The verdict on labelled images: against what the bundle promises, and against a reference."""
    line("gate", f"{'passed' if promise.passed else 'NO'}: {promise.sentence}")
    point = promise.operating_point
    own = ", the site's own threshold" * (point == "local")
    line("judged", f"{promise.answered} of {promise.samples} samples answered, at operating point {point}{own}")
    print_table(("", "here (95 %)", "promised"), promise.rows(), right=True)
    if verdict is not None:
        _verdict(verdict)
    if folder is not None:
        line("written", f"{folder / 'gate.json'}, {folder / 'flips.csv'}")
    synthetic_note(synthetic)
    if promise.passed and (verdict is None or verdict.passed):
        line("next", command_line("scan", "INBOX", "--bundle", artifact, "--out", "OUT"))


def _verdict(verdict: Verdict) -> None:
    """The sentence first, then the figures."""
    from edgedx.core.stats.gate import rows_of
    from edgedx.core.stats.patients import images_of_patients

    line("gate", f"{'passed' if verdict.passed else 'NO'}: {verdict.sentence}")
    line("judged", f"{images_of_patients(verdict.images, verdict.patients)} ({verdict.where}); {verdict.ran}")
    if (found := verdict.comparison) is None:
        return
    print_table(("", "teacher (95 %)", "student (95 %)", "lost (95 %)"), rows_of(verdict), right=True, width=120)
    teacher, student = verdict.points
    at = student if teacher == student else f"{student}, teacher at {teacher}"
    line("changed", f"{len(verdict.flips)} of {verdict.images} decisions differ from the teacher's (at {at})")
    if gap := found.largest_gap:
        line("subgroups", f"{gap.name} lost most: {gap.auc.drop} AUC, {gap.images} images")
    if found.not_judged:
        line("unjudged", "; ".join(f"{name} ({why})" for name, why in found.not_judged))


def archived(summary: dict[str, Any], *, json: bool) -> None:
    """What an archive's table holds."""
    if json:
        print_json(summary)
        return
    line("files", f"{summary['files']}, {summary['contents']} contents, {summary['copies']} copies")
    for status, count in summary["statuses"].items():
        line(status.partition(" ")[0], f"{count} {status.partition(' ')[2]}".strip())
    if summary["missing"]:
        line("missing", f"{summary['missing']} that the PACS lists and did not give, or that are no images")
    line("table", summary["results"])
    from edgedx.core.result import NOT_A_MEDICAL_DEVICE

    typer.echo(NOT_A_MEDICAL_DEVICE)
