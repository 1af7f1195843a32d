"""`edgedx update`: answers of clinics to a new version of the model, judged against the one that is deployed."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedx.core.bundle.signing import PublicKey, read_public
from edgedx.core.errors import AlreadyExists, InputOutputError, UsageError
from edgedx.core.files import canonical_json, sha256_bytes
from edgedx.core.progress import tell
from edgedx.core.settings.profile import load_profile
from edgedx.core.settings.recipe import Recipe
from edgedx.core.version import version_key
from edgedx.lab.compress.compress import compress
from edgedx.lab.data.prepare import open_data
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.run.device_build import DeviceBuild
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage
from edgedx.lab.run.updated import bundles_of, keep_verdict, read_update, read_verdict, write_update

from .combine import CONTRADICTIONS, is_new, open_old, source_of, write_combined
from .feedback import feedback_digest, read_feedback
from .judge import judge_update
from .label_check import LIST, PICTURE, check_labels, write_check
from .learn import update_teacher
from .settle import class_counts_of, settle

_FIXED = ("name", "version", "task", "preprocess", "model", "columns", "accept", "synthetic")
"""Parts of a recipe that an update cannot change: the model would be another one."""


@dataclass(frozen=True)
class Plan:
    """What an update does, settled before anything is written.

    Attributes
    ----------
    before, after : Run
        The run that is updated, which nothing is written to, and the new one.
    deployed : DeviceBuild
        What is deployed.
    recipe : Recipe
        Of the new run: the old one with a higher version.
    """

    before: Run
    after: Run
    deployed: DeviceBuild
    recipe: Recipe
    files: tuple[Path, ...]
    trusted: tuple[PublicKey, ...]
    fingerprint: str


def plan_update(
    path: Path,
    files: Sequence[Path],
    *,
    trust: Sequence[Path] = (),
    device: str | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    version: str | None = None,
) -> Plan:
    """Check the call and choose the new run's folder: ``RUN-update-N``, or the one where this very update is at work.

    A folder in which answers were only looked at, and nothing is learned yet, is used again.

    Parameters
    ----------
    trust : sequence of Path
        Public keys of the clinics.
    device : str, optional
        Device profile, where the run serves several.
    overrides : sequence of str
        ``key=value`` of the recipe.
    version : str, optional
        Of the updated model; the last number one higher unless given.

    Raises
    ------
    UsageError
        Nothing is compressed, or the recipe would be one of another model.
    AlreadyExists
        `out` holds another update.
    """
    before = Run.open(path)
    deployed = before.build(device)
    if missing := [one for one in files if not one.exists()]:
        raise InputOutputError(f"no such file or folder: {missing[0]}", next_step="check --feedback")
    was, recipe = before.recipe(), before.recipe(overrides)
    changed = [name for name in _FIXED if getattr(was, name) != getattr(recipe, name)]
    if changed:
        raise UsageError(
            f"--set {changed[0]}: an update keeps this section as it is, for the model would be another one",
            next_step="leave it out, or make a new run: edgedx finetune",
        )
    recipe = recipe.model_copy(update={"version": version or next_version(was.version)})
    if version_key(recipe.version) <= version_key(was.version):
        raise UsageError(
            f"version {recipe.version} is not higher than {was.version}, and no device would take it",
            next_step=f"--new-version {next_version(was.version)}",
        )
    sections = {"version", "update", "train", "augment", "student", "quantize", "data"}
    facts = [before.teacher.card.sha256, [feedback_digest(one) for one in files]]
    fingerprint = sha256_bytes(canonical_json([*facts, recipe.model_dump(mode="json", include=sections)]))
    after = _folder(before, out, fingerprint)
    keys = tuple(read_public(one) for one in trust)
    return Plan(before, after, deployed, recipe, tuple(files), keys, fingerprint)


def next_version(version: str) -> str:
    """The last number one higher: 1 to 2, 1.9 to 1.10."""
    *first, last = version.split(".")
    return ".".join([*first, str(int(last) + 1)])


def _folder(before: Run, out: Path | None, fingerprint: str) -> Run:
    if out is not None:
        there = read_update(Run(out)) if out.exists() else None
        if out.exists() and any(out.iterdir()) and (there is None or there["fingerprint"] != fingerprint):
            raise AlreadyExists(f"{out} holds something else", next_step="name another --out")
        return Run(out)
    home = before.path if before.path.name not in ("", "..") else before.path.resolve()
    base, number = re.sub(r"-update-\d+$", "", home.name), 0
    while True:
        number += 1
        run = Run(home.with_name(f"{base}-update-{number}"))
        there = read_update(run)
        if not run.path.exists():
            return run
        if there is not None and (there["fingerprint"] == fingerprint or not run.teacher.path.exists()):
            return run  # this very update, or one that was only looked at (--check)


def update(plan: Plan, *, check_only: bool = False, force: str | None = None) -> dict[str, Any]:
    """Carry a plan out; finished stages are not repeated, an interrupted one goes on.

    Parameters
    ----------
    check_only : bool
        Stop when the answers are read and their labels checked.
    force : str, optional
        Why it may ship although a check says no; recorded.

    Returns
    -------
    dict
        ``run``, ``version``, ``data`` (what became of the answers), ``teacher``, and ``verdict`` unless `check_only`.

    Raises
    ------
    GateRefused, DataError, UsageError
        See `feedback.read_feedback`, `settle.settle` and `combine.divide_new`.
    """
    before, after, recipe = plan.before, plan.after, plan.recipe
    if (read_update(after) or {}).get("fingerprint") != plan.fingerprint:
        write_update(after, _begun(plan))
    after.keep_recipe(recipe)
    data_record = _data(plan)
    report = {"run": str(after), "version": recipe.version, "method": recipe.update.method,
              "data": data_record["metrics"]}  # fmt: skip
    if check_only:
        return report
    data = open_data(recipe, after)
    old_train = open_data(before.recipe(), before).subset("train") if recipe.update.method == "ewc" else None
    origin = f"the teacher of version {before.recipe().version}"
    teacher = update_teacher(recipe, before, old_train, after, data, is_new(data, recipe.version), origin)
    profile = load_profile(plan.deployed.profile)
    compress(recipe, after, profile, int8=bool(plan.deployed.record["settings"]["int8"]), resume=True)
    build = after.build(profile.name)
    tell("judging against the deployed model")
    against = f"version {before.recipe().version}"
    verdict = judge_update(recipe, data, plan.deployed.shipped, build.shipped, against=against)
    told = keep_verdict(build, verdict.to_dict(), force)
    facts = _begun(plan)
    facts["feedback"], facts["labels"] = data_record["metrics"]["files"], data_record["metrics"]["answers"]
    facts["splits"] = data_record["metrics"]["new"]
    facts["changes"][-1]["items"] = _items(plan, data_record["metrics"])
    write_update(after, facts)
    return {**report, "teacher": teacher["metrics"], "verdict": told, "device": profile.name}


def _begun(plan: Plan) -> dict[str, Any]:
    """``update.json`` as far as it is known before the work."""
    before, recipe = plan.before, plan.recipe
    earlier = read_update(before)
    was = before.recipe()
    bundle = plan.deployed.bundle_record
    first = [{"version": was.version, "date": "", "items": [f"made from {source_of(before)}"]}]
    return {
        "schema_version": 1,
        "fingerprint": plan.fingerprint,
        "of": {
            "name": before.name,
            "version": was.version,
            "teacher": before.teacher.card.sha256,
            "bundle": None if bundle is None else bundle["metrics"]["digest"],
        },
        "bundles": bundles_of(before),
        "version": recipe.version,
        "method": recipe.update.method,
        "settings": recipe.update.model_dump(mode="json"),
        "limits": recipe.gate.model_dump(mode="json", include={"max_auc_drop", "rule", "max_sensitivity_drop"}),
        "changes": [
            *(earlier["changes"] if earlier else first),
            {"version": recipe.version, "date": time.strftime("%Y-%m-%d", time.gmtime()), "items": ["begun"]},
        ],
    }


def _items(plan: Plan, made: dict[str, Any]) -> list[str]:
    """What a version changed, for its log: how it was learned, and what was decided for each kind of device."""
    new, sites = made["new"], sorted({one["site"] for one in made["files"]})
    items = [
        f"learned by {plan.recipe.update.method} from {new['train']} answered images of {', '.join(sites)}; "
        f"{new['val']} chose thresholds, {new['test']} judged"
    ]
    for build in plan.after.builds:
        verdict = read_verdict(build)
        if verdict is not None:
            items.append(f"for {build.profile}: {verdict['sentence']}")
            items += [f"SHIPPED AGAINST THE VERDICT: {verdict['forced']}"] if verdict["forced"] else []
    return items


def _data(plan: Plan) -> dict[str, Any]:
    before, after, recipe = plan.before, plan.after, plan.recipe
    teacher = load_checkpoint(before.teacher.path)
    settings = recipe.model_dump(mode="json", include={"version", "task", "update"})
    settings["canvas"] = recipe.preprocess.digest()
    inputs = {"teacher": teacher.card.sha256, "update": plan.fingerprint}
    stage = Stage(after.data, settings, inputs)

    def work() -> dict[str, Any]:
        known = bundles_of(before)
        files = [read_feedback(path, recipe, known, plan.trusted) for path in plan.files]
        old = open_old(recipe, before)
        settled = settle(recipe, files, old)
        found = check_labels(recipe, teacher, settled)
        write_check(recipe, settled, found, stage.folder)
        suspects = {place for place, *_ in found.suspects}
        summary = write_combined(
            recipe, before, old, settled, stage.folder, source=f"{source_of(before)}; answers of clinics",
            leave_out=suspects if recipe.update.suspects == "leave-out" else set(), fitted=teacher.card.columns,
        )  # fmt: skip
        data = open_data(recipe, after)
        new = is_new(data, recipe.version)
        splits = [split for split, its in zip(data.splits, new, strict=True) if its]
        return {
            "files": [one.facts for one in files],
            "answers": settled.to_dict(),
            "classes": class_counts_of(recipe, settled.cases),
            "likely_wrong": len(found.suspects),
            "agreement": found.agreement,
            "label_check": found.note or f"{LIST}, {PICTURE}",
            "contradictions": CONTRADICTIONS,
            "new": {split: splits.count(split) for split in ("train", "val", "test")},
            "old": {split: summary["splits"][split] - splits.count(split) for split in ("train", "val", "test")},
            "warnings": summary["warnings"],
            "digest": summary["digest"],
        }

    looked_at = stage.record() is None and not after.teacher.path.exists()
    return stage.run(work, restartable=True, overwrite=looked_at)
