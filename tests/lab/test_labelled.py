"""Labelled samples of a clinic: how they are read, and what a device's answers to them are worth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "device"))

from bundles import manifest, png

from edgedx.core.bundle import Manifest, OperatingPoint
from edgedx.core.errors import DataError, UsageError
from edgedx.lab.labelled import Sample, judge_answers, read_samples

PROMISES = manifest(metrics={"test_auc": 0.9, "test_accuracy": 0.8}, gate={"budget": 0.05})
FINDINGS: dict[str, Any] = {
    "task": "multilabel",
    "classes": ["a", "b"],
    "positive": None,
    "operating_points": [OperatingPoint(name="half", threshold={})],
}


def sample(number: int, *labels: str) -> Sample:
    return Sample(Path(f"{number}.png"), f"{number:06d}.png", f"sha{number}", labels)


def answer(chance: float, **changes: Any) -> dict[str, Any]:
    return {"status": "done", "probabilities": {"dark": 1 - chance, "bright": chance}, "reason": None,
            "decode_ms": 5.0, "preprocess_ms": None, "infer_ms": 2.0, **changes}  # fmt: skip


def judged(truth: list[str], chances: list[float], promises: Manifest = PROMISES) -> Any:
    samples = [sample(number, label) for number, label in enumerate(truth)]
    return judge_answers(promises, samples, {f"sha{number}": answer(chance) for number, chance in enumerate(chances)})


def test_folders_name_the_classes_and_files_lose_their_names(tmp_path: Path) -> None:
    png(tmp_path / "dark" / "Doe, John.PNG", 1, bright=False)
    png(tmp_path / "bright" / "deep" / "x.png", 2, bright=True)
    (tmp_path / "readme.txt").write_text("not an image, and in no class")
    found = read_samples(tmp_path, PROMISES)
    assert [(one.name, one.labels) for one in found] == [("000001.png", ("bright",)), ("000002.png", ("dark",))]


def test_a_table_names_images_beside_it(tmp_path: Path) -> None:
    png(tmp_path / "images" / "one.png", 1)
    png(tmp_path / "images" / "two", 2)
    (tmp_path / "labels.csv").write_text("label,image,age\ndark,images/one.png,3\nbright,images/two,4\n")
    found = read_samples(tmp_path / "labels.csv", PROMISES)
    assert [(one.name, one.labels) for one in found] == [("000001.png", ("dark",)), ("000002", ("bright",))]


def test_several_findings_are_joined_in_a_table(tmp_path: Path) -> None:
    for number in range(3):
        png(tmp_path / f"{number}.png", number)
    (tmp_path / "t.csv").write_text("image,label\n0.png,a|b\n1.png,none\n2.png,b\n")
    findings = manifest(**FINDINGS)
    assert [one.labels for one in read_samples(tmp_path / "t.csv", findings)] == [("a", "b"), (), ("b",)]
    with pytest.raises(UsageError, match="need a table"):
        read_samples(tmp_path, findings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,label\n", "no labelled image"),
        ("file,label\n1.png,dark\n", "no column 'image'"),
        ("image,label\n1.png,grey\n", "'grey' is no class"),
        ("image,label\n1.png,dark\n1.png,dark\n", "the same label"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    png(tmp_path / "1.png")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        read_samples(tmp_path / "t.csv", PROMISES)
    assert caught.value.next_step


def test_as_good_as_promised_passes_and_figures_are_those_of_the_samples() -> None:
    verdict = judged(["dark"] * 10 + ["bright"] * 10, [0.1] * 9 + [0.8] + [0.9] * 10)
    assert verdict.passed
    assert verdict.accuracy == pytest.approx(19 / 20)
    assert verdict.auc.value == pytest.approx(1.0)
    assert (verdict.infer_ms, verdict.image_ms) == (2.0, 7.0)
    assert (verdict.promised_auc, verdict.promised_accuracy) == (0.9, 0.8)


def test_worse_than_promised_by_more_than_chance_fails() -> None:
    verdict = judged(["dark", "bright"] * 30, [0.5, 0.5] * 30)
    assert verdict.auc.value == pytest.approx(0.5)
    assert not verdict.passed
    assert "0.900" in verdict.sentence


def test_few_samples_do_not_fail_a_bundle_by_bad_luck() -> None:
    """Seven of nine pairs are right: .78 of .90, which three images of a kind cannot tell from .85."""
    verdict = judged(["dark", "dark", "dark", "bright", "bright", "bright"], [0.1, 0.2, 0.6, 0.5, 0.55, 0.9])
    assert verdict.auc.value < 0.85 < verdict.auc.high
    assert verdict.passed


def test_a_sample_that_is_not_answered_fails_and_says_why() -> None:
    samples = [sample(0, "dark"), sample(1, "bright"), sample(2, "bright"), sample(3, "dark")]
    answers = {"sha0": answer(0.1), "sha1": answer(0.9), "sha2": answer(0.0, status="refused", reason="MODALITY")}
    verdict = judge_answers(PROMISES, samples, answers)
    assert (verdict.answered, verdict.samples) == (2, 4)
    assert not verdict.passed
    assert "1 MODALITY, 1 no answer" in verdict.sentence


def test_too_few_answers_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="answered 1 of 2"):
        judge_answers(PROMISES, [sample(0, "dark"), sample(1, "bright")], {"sha0": answer(0.1)})


def test_a_bundle_that_promises_nothing_is_held_to_nothing() -> None:
    assert judged(["dark", "bright"], [0.9, 0.1], manifest()).passed


def test_several_findings_are_judged_each(tmp_path: Path) -> None:
    findings = manifest(**FINDINGS, metrics={"test_auc": 0.9}, gate={"budget": 0.05})
    samples = [sample(0, "a"), sample(1, "b"), sample(2, "a", "b"), sample(3)]
    chances = [(0.9, 0.1), (0.2, 0.8), (0.9, 0.9), (0.1, 0.1)]
    answers = {f"sha{n}": answer(0, probabilities={"a": a, "b": b}) for n, (a, b) in enumerate(chances)}
    verdict = judge_answers(findings, samples, answers)
    assert verdict.passed
    assert verdict.auc.value == 1.0
    assert verdict.accuracy is None
