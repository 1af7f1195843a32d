"""A bundle judged where it serves: its own runner, a clinic's images, what it promises, and another model's table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import dicom, manifest, model, png, write_tiny

from edgedx.core.errors import DataError, ProviderMissing
from edgedx.device.clinic.gate import against_promise, against_table, examine_samples, limits_of
from edgedx.device.clinic.samples import Sample, read_samples

PROMISE = {"metrics": {"test_auc": 0.98}, "gate": {"budget": 0.02, "rule": "value"}}


def clinic(folder: Path, each: int = 30) -> Path:
    for number in range(each):
        png(folder / "dark" / f"{number}.png", number, bright=False)
        png(folder / "bright" / f"{number}.png", 1000 + number, bright=True)
    return folder


def test_a_bundle_that_keeps_its_promise(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx", **PROMISE)
    samples = read_samples(clinic(tmp_path / "clinic"), bundle.manifest)
    found = examine_samples(bundle, samples)
    promise = against_promise(bundle.manifest, samples, found)
    assert promise.passed, promise.sentence
    assert (promise.answered, promise.auc.value, promise.accuracy) == (60, 1.0, 1.0)
    assert promise.infer_ms > 0 and promise.image_ms > promise.infer_ms
    assert found.ran == "variant fp32, CPUExecutionProvider"
    assert found.canvases.shape == (60, 16, 16)


def test_a_bundle_that_decides_the_wrong_way_round_breaks_it(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx", network=model(-1.0), **PROMISE)
    samples = read_samples(clinic(tmp_path / "clinic"), bundle.manifest)
    promise = against_promise(bundle.manifest, samples, examine_samples(bundle, samples))
    assert not promise.passed and "over the budget of 0.02" in promise.sentence


def test_files_that_are_not_answered_are_named_by_reason_and_fail(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx", **PROMISE)
    clinic(tmp_path / "clinic", 5)
    dicom(tmp_path / "clinic" / "dark" / "us.dcm", 7, kind="SC")
    (tmp_path / "clinic" / "bright" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    samples = read_samples(tmp_path / "clinic", bundle.manifest)
    found = examine_samples(bundle, samples)
    promise = against_promise(bundle.manifest, samples, found)
    assert not promise.passed
    assert (promise.answered, promise.samples) == (10, 12)
    assert "MODALITY" in promise.sentence and "not answered" in promise.sentence


def test_a_network_that_returns_nan_is_not_answered_at_all(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx", network=model(float("nan")), samples=_any_golden(), **PROMISE)
    samples = read_samples(clinic(tmp_path / "clinic", 3), bundle.manifest)
    with pytest.raises(DataError, match="NOT_A_NUMBER"):
        examine_samples(bundle, samples)


def _any_golden() -> bytes:
    from bundles import golden

    return golden(model())


def test_a_missing_runtime_is_said_before_images_are_read(tmp_path: Path) -> None:
    from edgedx.core.bundle.manifest import Variant

    bundle = write_tiny(
        tmp_path / "tiny.edgedx",
        target="jetson",
        variants={"fp16": Variant(file="models/fp32.onnx", precision="fp16", scheme="float", purpose="tensorrt")},
        default_variant="fp16",
    )
    with pytest.raises(ProviderMissing, match="TensorRT"):
        examine_samples(bundle, [Sample(tmp_path / "never-read.png", "1.png", "0" * 64, ("dark",))])


def test_against_another_models_table(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx", **PROMISE)
    samples = read_samples(clinic(tmp_path / "clinic"), bundle.manifest)
    found = examine_samples(bundle, samples)
    rows = []
    for number, one in enumerate(samples):  # a teacher that is wrong about one image of each class
        right = 0.99 if number not in (0, 59) else 0.01
        bright = right if one.labels == ("bright",) else 1 - right
        rows.append(f"{one.listed},{1 - bright:.3f},{bright:.3f}")
    table = tmp_path / "teacher.csv"
    table.write_text("image,dark,bright\n" + "\n".join(rows) + "\n")
    verdict = against_table(bundle.manifest, found, table)
    assert verdict.passed, verdict.sentence
    assert {flip.image for flip in verdict.flips} == {samples[0].listed, samples[59].listed}
    assert verdict.comparison is not None and verdict.comparison.whole.auc.drop.value < 0
    strict = against_table(bundle.manifest, found, table, "non-inferior")
    assert not strict.passed or strict.comparison.whole.auc.upper() <= 0.02  # type: ignore[union-attr]
    worse = against_table(bundle.manifest, examine_samples(_contrary(tmp_path), samples), table)
    assert not worse.passed and "over the budget" in worse.sentence
    json.dumps(worse.to_dict(), allow_nan=False)


def _contrary(folder: Path):  # type: ignore[no-untyped-def]
    return write_tiny(folder / "contrary.edgedx", network=model(-1.0), **PROMISE)


def test_limits_are_those_of_the_bundle() -> None:
    told = manifest(gate={"budget": 0.01, "rule": "value", "max_sensitivity_drop": 0.05, "passed": True})
    limits = limits_of(told)
    assert (limits.max_auc_drop, limits.rule, limits.max_sensitivity_drop, limits.max_ece) == (
        0.01,
        "value",
        0.05,
        None,
    )
    assert limits_of(told, "non-inferior").rule == "non-inferior"
    assert limits_of(manifest()).rule == "non-inferior"


def test_bmp_and_webp_are_samples_like_png_and_hidden_files_are_none(tmp_path: Path) -> None:
    import cv2

    bundle = write_tiny(tmp_path / "tiny.edgedx", **PROMISE)
    folder = clinic(tmp_path / "clinic", 3)
    for number, path in enumerate(sorted(folder.rglob("*.png"))[::2]):
        suffix = (".bmp", ".webp")[number % 2]
        written = cv2.imwrite(
            str(path.with_suffix(suffix)),
            cv2.imread(str(path), cv2.IMREAD_UNCHANGED),
            [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else [],  # above 100: lossless
        )
        assert written
        path.unlink()
    (folder / "dark" / ".DS_Store").write_bytes(b"no image")
    samples = read_samples(folder, bundle.manifest)
    assert {Path(sample.name).suffix for sample in samples} == {".bmp", ".webp", ".png"}
    promise = against_promise(bundle.manifest, samples, examine_samples(bundle, samples))
    assert (promise.answered, promise.samples, promise.accuracy) == (6, 6, 1.0)
