"""The gate says yes and no where it should: a known loss, too few images, a subgroup that collapses, NaN."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from edgedx.core.stats.cases import Cases, Predictions, predictions_of
from edgedx.core.stats.gate import Limits, Verdict, _change, judge, rows_of, write_verdict
from edgedx.core.stats.metrics import Interval, expected_calibration_error
from edgedx.core.stats.paired import compare
from edgedx.core.stats.subgroups import bands

POINT = {"sick": 0.5}


def cases(count: int, *, groups: Sequence[dict[str, str]] | None = None, patients: int | None = None) -> Cases:
    """Every second image is sick."""
    return Cases(
        names=[f"{index}.png" for index in range(count)],
        patients=[f"p{index % (patients or count)}" for index in range(count)],
        labels=np.arange(count) % 2,
        subgroups=groups or [{}] * count,
        task="binary",
        classes=["well", "sick"],
        positive="sick",
    )


def margins(of: Cases, strength: float = 2.0, seed: int = 0) -> np.ndarray:
    """Log odds of a model that separates the classes by `strength` standard deviations."""
    return np.random.default_rng(seed).normal(strength * (np.asarray(of.labels) - 0.5), 1)


def said(of: Cases, odds: np.ndarray, thresholds: dict[str, float] | None = None) -> Predictions:
    chance = 1 / (1 + np.exp(-odds))
    return predictions_of(of, np.stack([1 - chance, chance], axis=1), POINT if thresholds is None else thresholds,
                      scores=np.stack([-odds, odds], axis=1), point="half")  # fmt: skip


def verdict(of: Cases, teacher: np.ndarray, student: np.ndarray, **limits: Any) -> Verdict:
    return judge(of, said(of, teacher), said(of, student), Limits(**{"max_auc_drop": 0.02, **limits}), where="val")


def test_a_student_that_is_nearly_its_teacher_is_proven_on_many_images() -> None:
    of = cases(600)
    odds = margins(of)
    found = verdict(of, odds, odds + np.random.default_rng(1).normal(0, 0.05, 600))
    assert found.passed, found.sentence
    assert "within the budget of 0.02: loses at most 0.0" in found.sentence
    assert found.next_step == ""


def test_a_known_loss_is_found_and_refused() -> None:
    of = cases(600)
    odds = margins(of)
    worse = np.where(np.arange(600) < 60, -odds, odds)  # a tenth of the images is answered the wrong way round
    found = verdict(of, odds, worse)
    lost = roc_auc_score(of.labels, odds) - roc_auc_score(of.labels, worse)
    assert found.comparison is not None
    assert found.comparison.whole.auc.drop.value == pytest.approx(lost) and lost > 0.05
    assert not found.passed
    assert "over the budget of 0.02" in found.sentence and "not proven" not in found.sentence
    assert verdict(of, odds, worse, max_auc_drop=0.2).passed
    assert not verdict(of, odds, worse, rule="value").passed


def test_too_few_images_prove_nothing_and_the_sentence_says_so() -> None:
    of = cases(60)
    odds = margins(of)
    close = odds + np.random.default_rng(1).normal(0, 0.35, 60)
    found = verdict(of, odds, close)
    assert found.comparison is not None and found.comparison.whole.auc.drop.value < 0.02
    assert not found.passed
    assert found.sentence.startswith("not proven: ") and "with 60 images it could be up to 0.0" in found.sentence
    told = re.search(r"about (\d+) images would show it", found.sentence)
    assert told and 60 < int(told[1]) < 2000
    many = cases(int(told[1]))
    shown = margins(many)
    again = verdict(many, shown, shown + np.random.default_rng(1).normal(0, 0.35, len(shown)))
    assert "with 95 % confidence" in again.sentence or "not proven" not in again.sentence
    assert "more images" in found.next_step and "gate.rule" not in found.next_step  # no hint names a way around
    by_value = verdict(of, odds, close, rule="value")
    assert by_value.passed and "gate.rule=value" in by_value.sentence


def test_two_perfect_models_on_a_handful_of_images_prove_nothing() -> None:
    """No resample differs, so that the bootstrap alone would claim certainty."""
    few, many = cases(20), cases(200)
    found = verdict(few, margins(few, 50), margins(few, 50, seed=1))
    assert found.comparison is not None and found.comparison.whole.auc.drop.high == 0
    assert not found.passed
    assert "up to 0.050" in found.sentence  # half the weight of one of ten
    assert verdict(many, margins(many, 50), margins(many, 50, seed=1)).passed


def test_many_images_of_few_patients_prove_no_more_than_the_patients() -> None:
    one, many = cases(30), cases(600, patients=30)
    odds = margins(one)
    noise = np.random.default_rng(1).normal(0, 0.2, 30)
    alone = verdict(one, odds, odds + noise)
    copied = verdict(many, np.tile(odds, 20), np.tile(odds + noise, 20))
    assert alone.comparison is not None and copied.comparison is not None
    assert copied.patients == 30
    assert copied.comparison.whole.auc.upper() == pytest.approx(alone.comparison.whole.auc.upper(), abs=0.01)


def test_a_loss_at_the_budget_is_seldom_called_proven() -> None:
    """The rule's promise: a student whose true loss is the budget passes in one of twenty, give or take."""
    passed = 0
    for seed in range(40):
        of = cases(300)
        rng = np.random.default_rng(seed)
        odds = rng.normal(2.0 * (np.asarray(of.labels) - 0.5), 1)
        worse = odds + rng.normal(0, 0.75, 300)  # separation 2 / 1.25: AUC .921 to .871
        passed += verdict(of, odds, worse, max_auc_drop=0.050).passed
    assert passed <= 6


@pytest.mark.parametrize("rule", ["value", "non-inferior"])
@pytest.mark.parametrize("count", [9, 60, 400])
def test_a_model_that_guesses_never_ships_whatever_the_rule(rule: str, count: int) -> None:
    """60 images, gate.rule=value: a student as bad as its teacher lost nothing, and shipped at a test AUC of .50."""
    of = cases(count)
    guesses = np.random.default_rng(3).normal(0, 1, count)
    found = verdict(of, guesses, guesses, rule=rule, max_auc_drop=0.5)
    (chance,) = [check for check in found.checks if check.name == "chance"]
    assert not found.passed and not chance.passed and "chance" in found.sentence
    assert "rule" not in found.next_step and "force" not in found.next_step


def test_a_model_worse_than_chance_never_ships() -> None:
    of = cases(400)
    found = verdict(of, -margins(of), -margins(of), rule="value")
    assert not found.passed and "is not better than chance" in found.sentence


def test_a_weak_model_on_few_images_is_told_how_many_would_show_it() -> None:
    of = cases(30)
    weak = margins(of, 0.7, seed=3)
    found = verdict(of, weak, weak, rule="value")
    assert not found.passed and "images would show it, if it holds" in found.sentence
    more = cases(int(found.sentence.split("about ")[1].split(" images")[0]) * 2)
    assert verdict(more, margins(more, 0.7), margins(more, 0.7), rule="value").passed


@pytest.mark.parametrize(("count", "passed"), [(6, False), (8, True)])
def test_perfect_order_of_a_handful_is_luck(count: int, passed: bool) -> None:
    """Three of each class are in perfect order once in twenty guesses; four once in seventy."""
    of = cases(count)
    perfect = margins(of, 50)
    found = verdict(of, perfect, perfect, rule="value")
    assert found.passed is passed
    if not passed:
        assert "6 images are too few" in found.sentence and "4 patients of each class" in found.sentence


def test_many_images_of_few_patients_are_few() -> None:
    of = cases(100, patients=6)
    found = verdict(of, margins(of, 50), margins(of, 50), rule="value")
    assert not found.passed and "too few" in found.sentence


def test_the_least_auc_of_the_recipe_holds_beside_the_loss() -> None:
    of = cases(400)
    odds = margins(of)
    reached = compare(of, said(of, odds), said(of, odds)).whole.auc.student.value
    assert verdict(of, odds, odds, least_auc=reached - 0.01).passed
    found = verdict(of, odds, odds, least_auc=reached + 0.01)
    assert not found.passed and "below gate.least_auc" in found.sentence


def test_a_subgroup_that_collapses_is_refused_though_the_whole_holds() -> None:
    of = cases(2000, groups=[{"sex": "F" if index < 200 else "M"} for index in range(2000)])
    odds = margins(of)
    student = np.where(np.arange(2000) < 200, np.random.default_rng(5).normal(0, 1, 2000), odds)
    found = verdict(of, odds, student, max_auc_drop=0.1)
    whole, sub = found.checks[0], found.checks[2]
    assert whole.name == "auc" and whole.passed
    assert not found.passed and sub.name == "subgroup sex F"
    assert found.sentence.startswith("sex F (200 images) loses 0.") and "all images together 0.0" in found.sentence
    assert found.to_dict()["largest_gap"]["subgroup"] == "sex F"
    assert [part.name for part in found.comparison.subgroups] == ["sex F", "sex M"]  # type: ignore[union-attr]


def test_a_subgroup_that_is_moved_as_a_whole_is_seen_by_its_sensitivity() -> None:
    """Every score of F is lowered: the order within F stays, its sick are no longer called."""
    of = cases(2000, groups=[{"sex": "F" if index < 200 else "M"} for index in range(2000)])
    odds = margins(of, 4)
    student = np.where(np.arange(2000) < 200, odds - 4, odds)
    assert verdict(of, odds, student, max_auc_drop=0.1).passed
    found = verdict(of, odds, student, max_auc_drop=0.1, max_sensitivity_drop=0.1)
    assert not found.passed and "sex F" in found.sentence and "sensitivity for sick" in found.sentence


def test_small_subgroups_are_listed_and_not_judged() -> None:
    of = cases(400, groups=[{"site": "A" if index >= 19 else "B", "unit": "1"} for index in range(400)])
    odds = margins(of)
    found = verdict(of, odds, np.where(np.arange(400) < 19, -odds, odds), max_auc_drop=0.2)
    assert found.passed
    assert {name for name, _ in found.comparison.not_judged} == {"site B", "unit 1"}  # type: ignore[union-attr]
    assert "9 images of a class, 10 needed" in json.dumps(found.to_dict()["not_judged"])


def test_chance_alone_fails_no_subgroup() -> None:
    groups = [{"age": str(20 + index % 60), "view": "PA" if index % 3 else "AP"} for index in range(600)]
    of = cases(600, groups=groups)
    odds = margins(of)
    for seed in range(5):
        found = verdict(of, odds, odds + np.random.default_rng(100 + seed).normal(0, 0.1, 600))
        assert found.passed, found.sentence
    assert len(found.comparison.subgroups) == 6  # type: ignore[union-attr]  # four bands of age, two views


def test_a_small_subgroup_that_looks_bad_by_chance_is_named_and_passes() -> None:
    of = cases(600, groups=[{"sex": "F" if index < 24 else "M"} for index in range(600)])
    odds = margins(of)
    student = odds + np.where(np.arange(600) < 24, np.random.default_rng(11).normal(0, 1.2, 600), 0.0)
    found = verdict(of, odds, student)
    gap = found.comparison.largest_gap  # type: ignore[union-attr]
    assert gap is not None and gap.name == "sex F" and gap.auc.drop.value > 0.05 and gap.auc.drop.low < 0.02
    assert found.passed, found.sentence


@pytest.mark.parametrize("who", ["student", "teacher"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("rule", ["non-inferior", "value"])
def test_answers_that_are_not_numbers_never_pass(who: str, value: float, rule: str) -> None:
    of = cases(600)
    good = said(of, margins(of))
    probabilities = good.probabilities.copy()
    probabilities[7] = value
    broken = predictions_of(of, probabilities, POINT)
    pair = (good, broken) if who == "student" else (broken, good)
    found = judge(of, *pair, Limits(0.9, rule=rule), where="val")  # type: ignore[arg-type]
    assert not found.passed
    assert "1 of 600 answers of" in found.sentence and "not numbers" in found.sentence
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.flips[0].image == "7.png" and "not a number" in (found.flips[0].student, found.flips[0].teacher)


@pytest.mark.filterwarnings("error")
def test_a_class_that_is_missing_never_passes() -> None:
    of = cases(40)
    of = Cases(of.names, of.patients, np.zeros(40, int), of.subgroups, of.task, of.classes, of.positive)
    odds = margins(of)
    for rule in ("non-inferior", "value"):
        found = verdict(of, odds, odds, rule=rule)
        assert not found.passed and "not a number" in found.sentence
        json.dumps(found.to_dict(), allow_nan=False)


def test_no_image_at_all_never_passes() -> None:
    of = cases(0)
    found = judge(of, said(of, np.zeros(0)), said(of, np.zeros(0)), Limits(0.9, rule="value"), where="test")
    assert not found.passed and "no image in test" in found.sentence


def test_figures_are_those_of_scikit_learn_at_each_models_own_threshold() -> None:
    of = cases(500)
    odds, other = margins(of), margins(of, seed=9)
    found = compare(of, said(of, odds, {"sick": 0.3}), said(of, other, {"sick": 0.7}))
    for role, values, threshold in (("teacher", odds, 0.3), ("student", other, 0.7)):
        chance = 1 / (1 + np.exp(-values))
        whole = found.whole
        assert getattr(whole.auc, role).value == pytest.approx(roc_auc_score(of.labels, values))
        called = chance >= threshold
        assert getattr(whole.sensitivity["sick"], role).value == pytest.approx(recall_score(of.labels, called))
        assert getattr(whole.specificity["sick"], role).value == pytest.approx(
            recall_score(of.labels, called, pos_label=0)
        )
        ece = expected_calibration_error((chance >= 0.5) == of.labels, np.maximum(chance, 1 - chance))
        assert found.calibration[role]["ece"] == pytest.approx(ece)
        interval = getattr(whole.sensitivity["sick"], role)
        assert interval.low < interval.value < interval.high
    rate = found.whole.sensitivity["sick"]
    assert rate.drop.value == pytest.approx(rate.teacher.value - rate.student.value)


def test_limits_of_sensitivity_and_calibration() -> None:
    of = cases(1000)
    odds = margins(of, 4)
    assert verdict(of, odds, odds, max_sensitivity_drop=0.02, max_ece=0.2).passed
    lower = verdict(of, odds, odds - 1.5, max_sensitivity_drop=0.02)
    assert not lower.passed and "sensitivity for sick" in lower.sentence and lower.checks[0].passed
    sure = verdict(of, margins(of), margins(of) * 9, max_ece=0.05)
    assert not sure.passed and "calibration error (ECE)" in sure.sentence
    assert verdict(of, odds, odds - 1.5).passed  # told, not judged, where there is no limit


def test_flips_are_listed_by_image_and_no_spreadsheet_runs_them(tmp_path: Path) -> None:
    of = cases(600)
    of = Cases(["=cmd()", *of.names[1:]], of.patients, of.labels, of.subgroups, of.task, of.classes, of.positive)
    odds = margins(of)
    other = odds.copy()
    other[[0, 5]] *= -1
    found = verdict(of, odds, other)
    assert [flip.image for flip in found.flips] == ["=cmd()", "5.png"]
    write_verdict(tmp_path, found)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "flips.csv").read_text())))
    assert rows[0]["image"] == "'=cmd()" and rows[1]["image"] == "5.png" and rows[1]["truth"] == "sick"
    assert {rows[1]["teacher"], rows[1]["student"]} == {"well", "sick"}
    assert float(rows[1]["teacher sick"]) == pytest.approx(1 - float(rows[1]["student sick"]), abs=2e-4)
    record = json.loads((tmp_path / "gate.json").read_text())
    assert record["flips"] == 2 and record["passed"] is True
    assert "5.png" not in (tmp_path / "gate.json").read_text()


def test_several_classes_are_judged_each() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 3
    of = Cases([str(index) for index in range(900)], [str(index) for index in range(900)], labels, [{}] * 900,
               "multiclass", ["a", "b", "c"])  # fmt: skip
    logits = rng.normal(2.5 * np.eye(3)[labels], 1)
    worse = logits.copy()
    worse[labels == 2] = worse[labels == 2][:, [0, 2, 1]]  # every c looks like a b

    def softmax(values: np.ndarray) -> Predictions:
        scaled = np.exp(values)
        return predictions_of(of, scaled / scaled.sum(axis=1, keepdims=True), {}, point="argmax")

    same = judge(of, softmax(logits), softmax(logits + rng.normal(0, 0.02, logits.shape)), Limits(0.02), where="val")
    assert same.passed, same.sentence
    found = judge(of, softmax(logits), softmax(worse), Limits(0.9, "value", max_sensitivity_drop=0.1), where="val")
    assert [check.name for check in found.checks if not check.passed] == ["sensitivity c"]
    expected = recall_score(labels, worse.argmax(axis=1), average=None)
    whole = found.comparison.whole  # type: ignore[union-attr]
    assert [rate.student.value for rate in whole.sensitivity.values()] == pytest.approx(list(expected))
    scaled = np.exp(worse) / np.exp(worse).sum(axis=1, keepdims=True)
    assert whole.auc.student.value == pytest.approx(roc_auc_score(labels, scaled, multi_class="ovr"))
    assert any(row[0] == "sensitivity c" for row in rows_of(found))


def test_several_findings_are_judged_by_their_known_labels() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((800, 2)) < 0.4).astype(float)
    odds = rng.normal(3 * labels - 1.5, 1)
    unknown = rng.random((800, 2)) < 0.2
    labels[unknown] = np.nan
    groups = [{"sex": "FM"[index % 2]} for index in range(800)]
    of = Cases([str(index) for index in range(800)], [str(index) for index in range(800)], labels, groups,
               "multilabel", ["a", "b"])  # fmt: skip

    def sigmoid(values: np.ndarray) -> Predictions:
        return predictions_of(of, 1 / (1 + np.exp(-values)), {"a": 0.5, "b": 0.3}, scores=values)

    wild = np.where(unknown, -odds, odds)  # what is not known is not judged
    found = judge(of, sigmoid(odds), sigmoid(wild), Limits(0.02), where="val")
    assert found.passed, found.sentence
    whole = found.comparison.whole  # type: ignore[union-attr]
    known = ~unknown[:, 1]
    chance = 1 / (1 + np.exp(-odds[known, 1]))
    assert whole.sensitivity["b"].student.value == pytest.approx(recall_score(labels[known, 1], chance >= 0.3))
    assert len(found.comparison.subgroups) == 2  # type: ignore[union-attr]
    assert len(found.flips) > 50 and found.flips[0].truth in {"a", "b", "a|b", "none"}
    one_lost = odds.copy()
    one_lost[:, 0] = rng.normal(size=800)
    assert not judge(of, sigmoid(odds), sigmoid(one_lost), Limits(0.02), where="val").passed


def test_ages_become_bands_and_words_stay() -> None:
    assert bands(["F", "M", "", "F"]) == ["F", "M", "(empty)", "F"]
    ages = [f"{age:03d}Y" for age in range(20, 60)] + ["006M"]
    found = bands(ages)
    assert len(set(found)) == 4 and found[0] == found[-1] == "to 29" and found[39] == "over 49"
    names = [f"scanner {index}" for index in range(12)]
    assert bands(names) == names


def test_a_gain_is_not_told_as_a_negative_loss() -> None:
    assert _change(Interval(-0.007, -0.017, 0.001)) == "gains 0.007 [-0.001, 0.017]"
    assert _change(Interval(0.007, -0.001, 0.017)) == "loses 0.007 [-0.001, 0.017]"


def test_a_budget_of_nothing_is_never_proven_and_names_no_number_of_images() -> None:
    of = cases(100)
    found = verdict(of, margins(of), margins(of), max_auc_drop=0.0)
    assert not found.passed
    assert "not proven" in found.sentence
    assert "would show it" not in found.sentence
