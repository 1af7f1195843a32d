"""Compressed run to bundle: the gate on the artifact that ships, then everything a device needs in one file."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgedx._version import __version__
from edgedx.core.bundle.doubt import Doubt
from edgedx.core.bundle.manifest import Golden, Manifest, Variant, check_models, open_bundle, write_bundle
from edgedx.core.bundle.reference import part_name
from edgedx.core.errors import FileGone, GateRefused, ProfileError, UsageError
from edgedx.core.files import canonical_json, sha256_file
from edgedx.core.image import Image
from edgedx.core.preprocess import preprocess
from edgedx.core.settings.columns import FittedColumn, make_up
from edgedx.core.settings.profile import DeviceProfile, load_profile
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.gate import FLIPS, Verdict, write_verdict
from edgedx.core.text import command_line
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import open_data
from edgedx.lab.judge.gate import Judge
from edgedx.lab.run.device_build import CompiledVariant, DeviceBuild
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage
from edgedx.lab.run.updated import changes_file, update_facts

from .doubt import describe, describe_missing, fit_doubt
from .engines import Shipped, ship_engines
from .preflight import check_profile
from .reference import fit_references

Target = Literal["cpu", "jetson", "rtx"]


def deploy(
    recipe: Recipe, run: Path | Run, profile: DeviceProfile, *, force: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Gate what ships of a run to one kind of device and write its bundle, ``<name>-<version>-<profile>.edgedx``.

    Raises
    ------
    GateRefused
        The gate said no (see `core.stats.gate`); no bundle is written unless `force`, which the bundle records. Of an
        update also: it may not replace the deployed model (see `lab.run.updated`).
    UsageError
        The run was not compressed for this profile.
    """
    run = Run.of(run)
    build = run.build(profile.name)
    data = open_data(recipe, run)
    inputs = {"compressed": build.record["fingerprint"], "teacher": run.teacher.card.sha256}
    inputs |= {name: sha256_file(one.path) for name, one in build.variants.items()}
    settings = recipe.model_dump(mode="json", include={"name", "version", "gate", "accept", "licences", "bench"})
    settings |= {"profile": profile.name, "force": force, "variant": build.choice["variant"]}
    of_update = update_facts(run, build, force=force)
    settings |= {"update": of_update} if of_update else {}  # left out else: other runs stay current
    stage = Stage(build.bundle_folder, settings, inputs)
    record = stage.run(
        lambda: _bundle(recipe, run, build, profile, data, force, of_update),
        overwrite=overwrite,
        restartable=True,
    )
    return _here(record, build.bundle_folder)


def _here(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The record with its paths in `folder`: the run may have been moved or copied since it was written."""
    metrics = record["metrics"]
    path = folder / Path(metrics["bundle"]).name
    if not path.is_file():
        raise FileGone(path)
    gate = {**metrics["gate"], "flips_csv": str(folder / FLIPS)}
    # A step that is pasted here finds the file; one that is for another machine has its name alone.
    short, whole = command_line("install", path.name), command_line("install", path)
    steps = [whole + step[len(short) :] if step.startswith(short) else step for step in metrics["on_the_device"]]
    return {**record, "metrics": {**metrics, "bundle": str(path), "gate": gate, "on_the_device": steps}}


def profile_to_deploy(run: Run, device: str | None, target: str | None) -> DeviceProfile:
    """The device profile that a call of `edgedx deploy` means.

    Parameters
    ----------
    device : str, optional
        Its name; where neither is given, the run's only one.
    target : str, optional
        cpu, jetson or rtx: the run's only profile of that target.

    Raises
    ------
    UsageError
        Nothing is compressed for it, or several profiles fit.
    ProfileError
        Device and target contradict each other.
    """
    if device is not None or target is None:
        profile = load_profile(run.build(device).profile)
        if target not in (None, profile.target):
            raise ProfileError(
                f"{profile.name} has target {profile.target}, not {target}",
                next_step=f"leave out --target, or name a device of target {target} (`edgedx devices list`)",
            )
        return profile
    profiles = [load_profile(build.profile) for build in run.builds]
    fitting = [profile for profile in profiles if profile.target == target]
    if not fitting:
        made = ", ".join(f"{profile.name} ({profile.target})" for profile in profiles) or "no device yet"
        raise ProfileError(
            f"{run} is compressed for {made}, none of target {target}",
            next_step=f"{command_line('compress', run, '--device', 'NAME')}, with a {target} device of "
            "`edgedx devices list`",
        )
    if len(fitting) > 1:
        raise UsageError(
            f"{run} is compressed for {' and '.join(profile.name for profile in fitting)}, all of target {target}",
            next_step=f"name one: --device {fitting[0].name}",
        )
    return fitting[0]


def _bundle(
    recipe: Recipe,
    run: Run,
    build: DeviceBuild,
    profile: DeviceProfile,
    data: Dataset,
    force: bool,
    of_update: dict[str, float | bool | str],
) -> dict[str, Any]:
    out, variants, choice = build.bundle_folder, build.variants, build.choice
    models = {name: one.path.read_bytes() for name, one in variants.items()}
    default, ships = build.shipped.name, build.shipped
    verdict = Judge(recipe, run, data).variant(ships)
    write_verdict(out, verdict)  # also of what is refused: flips.csv says on which images
    if not verdict.passed and not force:
        raise GateRefused(verdict.sentence, next_step=verdict.next_step)
    parts = {one.path.name: models[name] for name, one in variants.items()}
    golden, parts["golden.npz"] = _golden(recipe, data, models, variants)
    parts["recipe.json"] = canonical_json(recipe.model_dump(mode="json"))
    if (changes := changes_file(run)) is not None:
        parts["changes.md"] = changes.read_bytes()
    shipped_variants = {
        name: Variant(
            file=one.path.name,
            precision=one.entry["precision"],
            scheme=one.entry["scheme"],
            purpose=one.entry["purpose"],
        )
        for name, one in variants.items()
    }
    shipped = ship_engines(shipped_variants, models, profile) if profile.target == "rtx" else Shipped()
    doubt = fit_doubt(recipe, data, models, variants, ships.temperature)
    parts |= {**shipped.parts, **doubt.parts}
    parts |= fit_references(recipe, data, variants, doubt, ships.temperature, ships.points[0])
    parts["model-card.md"] = _model_card(recipe, ships, verdict, profile, data, doubt.doubt).encode()
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        edgedx=__version__,
        profile=profile.name,
        target=profile.target,
        task=recipe.task.kind,
        classes=recipe.task.classes,
        positive=recipe.task.positive,
        backbone=run.student.card.backbone,
        preprocess=recipe.preprocess,
        accept=recipe.accept,
        columns=list(data.fitted),
        temperature=ships.temperature,
        operating_points=ships.points,
        variants=shipped_variants,
        default_variant=default,
        engines=shipped.engines,
        features=_feature_length(models["fp32"], recipe),
        doubt=doubt.doubt,
        reference={name: part_name(name) for name in variants},
        golden=golden,
        metrics=_flat(ships.entry),
        gate=_verdict_facts(verdict, force) | of_update,
        licences=recipe.licences,
        synthetic=recipe.synthetic,
        parts={},
    )
    path = out / f"{recipe.name}-{recipe.version}-{profile.name}.edgedx"
    digest = write_bundle(path, manifest, parts)
    check_models(open_bundle(path))  # what was written must be what a device can read and accepts
    return {
        "bundle": str(path),
        "bytes": path.stat().st_size,
        "digest": digest,
        "default": choice,
        "gate": {**verdict.to_dict(), "flips_csv": str(out / FLIPS)},
        "engines": shipped.records,
        "warnings": [*_warnings(models, variants, profile, shipped), *describe_missing(doubt.doubt)],
        "on_the_device": _device_steps(profile, default, path, shipped),
    }


def _verdict_facts(verdict: Verdict, force: bool) -> dict[str, float | bool | str]:
    """The verdict as a bundle carries it: what a device needs to judge itself, and what was decided here."""
    figures = verdict.to_dict()
    numbers = {
        "auc_drop": figures["auc_drop"]["value"],
        "auc_drop_at_most": figures["auc_drop_at_most"],
        "budget": verdict.limits.max_auc_drop,
        "max_sensitivity_drop": verdict.limits.max_sensitivity_drop,
        "max_ece": verdict.limits.max_ece,
        "least_auc": verdict.limits.least_auc,
        "images": verdict.images,
        "flips": len(verdict.flips),
    }
    known = {name: float(value) for name, value in numbers.items() if value is not None}
    forced = force and not verdict.passed
    words = {"rule": verdict.limits.rule, "split": verdict.where} | ({"refused": verdict.sentence} if forced else {})
    return {"passed": verdict.passed, "forced": forced, **words, **known}


def _card_gaps(verdict: Verdict) -> list[str]:
    gap = verdict.comparison.largest_gap if verdict.comparison else None
    if gap is None:
        return []
    return [f"- Subgroup that lost most: {gap.name}, {gap.auc.drop} AUC on {verdict.where}"]


def _golden(
    recipe: Recipe, data: Dataset, models: dict[str, bytes], variants: Mapping[str, CompiledVariant]
) -> tuple[Golden, bytes]:
    """Images near and far from the decision, as canvases, with the logits that every variant gave here."""
    val = data.subset("val")
    chosen = val.take(np.linspace(0, len(val) - 1, min(recipe.gate.golden_images, len(val))).astype(int))
    images = [np.array(part[0]) for part in chosen.batches(1)]
    batch = np.stack([preprocess(Image.of_array(image), recipe.preprocess) for image in images])
    arrays: dict[str, np.ndarray] = {f"image_{index}": image for index, image in enumerate(images)}
    columns = None
    if data.fitted:  # made up: what is known of the patients themselves does not leave with the bundle
        columns = arrays["columns"] = make_up(data.fitted, len(images), np.random.default_rng(0))
    tolerance = {}
    for name, model in models.items():
        with OnnxRunner(model, fused=variants[name].fused) as runner:
            logits = runner.infer(batch, columns).logits
        arrays[f"logits_{name}"] = logits
        # A few INT8 steps: kernels of other CPUs round otherwise, while saturation is off by whole logits.
        spread = float(max(logits.std(), 1e-3))
        tolerance[name] = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.15}[variants[name].entry["precision"]] * max(
            1.0, spread
        )
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return Golden(file="golden.npz", count=len(images), tolerance=tolerance), stream.getvalue()


def _feature_length(model: bytes, recipe: Recipe) -> int | None:
    with OnnxRunner(model) as runner:
        features = runner.infer(np.zeros((1, *recipe.preprocess.input_shape), np.float32)).features
    return None if features is None else int(features.shape[1])


def _flat(entry: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, value in entry["test"].items():
        if isinstance(value, dict) and "value" in value:
            flat |= {
                f"test_{key}{tail}": value[name] for tail, name in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
        elif isinstance(value, float):
            flat[f"test_{key}"] = value
    return {key: value for key, value in flat.items() if value is not None}


def _warnings(
    models: dict[str, bytes], variants: Mapping[str, CompiledVariant], profile: DeviceProfile, shipped: Shipped
) -> list[str]:
    """What may not work on the device, as far as it can be known here."""
    built = {name: model for name, model in models.items() if variants[name].entry["purpose"] == "tensorrt"}
    warnings = check_profile(built, profile) if profile.target == "jetson" else []
    warnings += [f"no engine of {one['variant']} for SM {', '.join(one['sm'])}: {one['refused']}"
              for one in shipped.records if "refused" in one]  # fmt: skip
    return warnings + ([shipped.note] if shipped.note else [])


def _device_steps(profile: DeviceProfile, default: str, path: Path, shipped: Shipped) -> list[str]:
    install = command_line("install", path.name, "--root", "DIR")
    scan = "edgedx scan INBOX --bundle DIR/current --out OUT"
    if profile.target == "cpu":
        return [install, scan]
    built = (
        "the bundle brings TensorRT engines" if shipped.engines else "builds a TensorRT engine, which can take minutes"
    )
    return [f"on the device: {install}   ({built}; --variant fp32 for its CPU)", scan]


def _columns_told(columns: Sequence[FittedColumn]) -> str:
    """For people: names, and where a device takes them from."""
    sources = (f"{one.name} ({f'DICOM {one.header}' if one.header else 'absent on a device'})" for one in columns)
    return f"{', '.join(sources)}; what is absent is allowed for"


def _model_card(
    recipe: Recipe,
    variant: CompiledVariant,
    verdict: Verdict,
    profile: DeviceProfile,
    data: Dataset,
    doubt: Doubt,
) -> str:
    test = variant.entry["test"]
    area = test["auc"]
    counts = {split: len(data.subset(split)) for split in ("train", "val", "test")}
    lines = [
        f"# {recipe.title}",
        "",
        "Research software, not a medical device. Not for diagnosis.",
        *(["", "Trained on SYNTHETIC images: its figures say nothing about patients."] if recipe.synthetic else []),
        "",
        f"- Classes: {', '.join(recipe.task.classes)} ({recipe.task.kind})",
        f"- Images: {counts['train']} train, {counts['val']} val, {counts['test']} test; split by patient where known",
        f"- Made for: {profile.title}; variant {variant.name}",
        f"- Test AUC: {area['value']:.3f} (95 % interval {area['low']:.3f} to {area['high']:.3f})",
        f"- Gate: {'passed' if verdict.passed else 'FORCED'}: {verdict.sentence}",
        *_card_gaps(verdict),
        f"- Accepts: {recipe.accept.describe()}; others are refused",
        *([f"- Told beside the image: {_columns_told(data.fitted)}"] if data.fitted else []),
        *(f"- Doubt: {line}" for line in [*describe(doubt, variant.name, recipe.accept.ood), *describe_missing(doubt)]),
        "- Limits: judged on the data set above alone; thresholds were chosen on its validation split and should be",
        "  checked on images of the clinic that will use it.",
        f"- The bundle holds {recipe.gate.golden_images} validation images, without headers, to prove the device.",
        *(f"- Licence of {what}: {licence}" for what, licence in recipe.licences.items()),
        "",
    ]
    return "\n".join(lines)
