"""Labelled samples of a clinic: how they are read, and what a device's answers to them are worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles import manifest, png

from edgedx.core.bundle.manifest import Manifest
from edgedx.core.errors import DataError, UsageError
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.clinic.promise import judge_answers
from edgedx.device.clinic.samples import Sample, cases_of_samples, read_predictions, read_samples

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


def judged(truth: list[str], probabilities: list[float], promises: Manifest = PROMISES) -> Any:
    samples = [sample(number, label) for number, label in enumerate(truth)]
    return judge_answers(
        promises, samples, {f"sha{number}": answer(chance) for number, chance in enumerate(probabilities)}
    )


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
    assert "0.900" in verdict.sentence and "over the budget of 0.05" in verdict.sentence


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
    probabilities = [(0.9, 0.1), (0.2, 0.8), (0.9, 0.9), (0.1, 0.1)]
    answers = {f"sha{n}": answer(0, probabilities={"a": a, "b": b}) for n, (a, b) in enumerate(probabilities)}
    verdict = judge_answers(findings, samples, answers)
    assert verdict.passed
    assert verdict.auc.value == 1.0
    assert verdict.accuracy is None


def test_sensitivity_at_the_operating_point_is_judged_where_the_bundle_has_a_limit() -> None:
    """All ranks hold, and every bright one is missed: the AUC does not see it."""
    metrics = {"test_auc": 0.9, "test_sensitivity": 0.95, "test_specificity": 0.9, "test_ece": 0.1}
    truth, probabilities = ["dark", "bright"] * 20, [0.1, 0.4] * 20
    told = judged(truth, probabilities, manifest(metrics=metrics, gate={"budget": 0.05}))
    assert told.passed and told.sensitivity.value == 0 and told.specificity.value == 1
    assert ("sensitivity", "0.000 [0.000, 0.000]", "0.950") in told.rows()
    strict = judged(truth, probabilities, manifest(metrics=metrics, gate={"budget": 0.05, "max_sensitivity_drop": 0.1}))
    assert not strict.passed
    assert "sensitivity on the samples is 0.000" in strict.sentence
    json.dumps(strict.to_dict(), allow_nan=False)


def test_images_of_one_patient_widen_the_interval(tmp_path: Path) -> None:
    rows = []
    for number in range(24):
        png(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,{'dark' if number % 12 < 6 else 'bright'},p{number % 12},{'FM'[number % 2]}")
    (tmp_path / "t.csv").write_text("image,label,patient_id,sex\n" + "\n".join(rows) + "\n")
    samples = read_samples(tmp_path / "t.csv", PROMISES, ["sex"])
    cases = cases_of_samples(samples, PROMISES)
    assert len(set(cases.patients)) == 12 and cases.names[3] == "3.png" and cases.subgroups[3] == {"sex": "M"}
    with pytest.raises(DataError, match="no column 'age'"):
        read_samples(tmp_path / "t.csv", PROMISES, ["age"])


def _table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_predictions_of_another_model_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    cases = cases_of_samples([sample(0, "dark"), sample(1, "bright")], PROMISES)
    table = _table(
        tmp_path / "p.csv", "image,bright,dark,more\n000001.png,0.6,0.4,x\nz.png,1,0,\n000000.png,0.3,0.7,\n"
    )
    found = read_predictions(table, cases, {"bright": 0.65})
    assert found.probabilities.tolist() == [[0.7, 0.3], [0.4, 0.6]]
    assert found.decisions == ["dark", "dark"]
    own = _table(tmp_path / "d.csv", "image,bright,dark,decision\n000001.png,0.6,0.4,bright\n000000.png,0.3,0.7,dark\n")
    assert read_predictions(own, cases, {"bright": 0.65}).decisions == ["dark", "bright"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,dark\n", "no column 'bright'"),
        ("image,dark,bright\n000000.png,0.5,0.5\n", "1 of 2 images have no row"),
        ("image,dark,bright\n000000.png,0.5,0.5\n000000.png,0.5,0.5\n", "line 3: '000000.png' stands twice"),
        ("image,dark,bright\n000000.png,-1.5,2.5\n", "line 2, dark: '-1.5' is no probability"),
        ("image,dark,bright\n000000.png,nan,0.5\n", "'nan' is no probability"),
        ("image,dark,bright\n000000.png,0.1,0.1\n", "add up to 0.2"),
    ],
)
def test_predictions_that_cannot_be_used_are_refused(tmp_path: Path, text: str, words: str) -> None:
    cases = cases_of_samples([sample(0, "dark"), sample(1, "bright")], PROMISES)
    with pytest.raises(DataError, match=words) as caught:
        read_predictions(_table(tmp_path / "p.csv", text), cases, {})
    assert caught.value.next_step
