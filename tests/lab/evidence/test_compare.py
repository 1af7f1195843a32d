"""`edgedx compare`: the same images for all, the right test for each question, words that fit the figures."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_run import VARIANTS, write_run
from scipy import stats

from edgedx.core.errors import DataError, UsageError
from edgedx.core.stats.cases import Cases, Predictions, predictions_of
from edgedx.core.stats.metrics import roc_auc
from edgedx.lab.evidence.compare.compare import compare
from edgedx.lab.evidence.compare.files import write_comparison
from edgedx.lab.evidence.compare.folds import fold_tests
from edgedx.lab.evidence.compare.lineup import expand, line_up
from edgedx.lab.evidence.compare.significance import delong, mcnemar
from edgedx.lab.evidence.compare.tables import read_subject
from edgedx.lab.evidence.compare.words import sentences
from edgedx.lab.judge.evaluation import evaluate
from edgedx.lab.judge.evaluation_files import predictions_csv, write_evaluation
from edgedx.lab.judge.subject import open_subject

CLASSES = ["well", "sick"]


def _cases(count: int = 300, per_patient: int = 1, seed: int = 0) -> Cases:
    labels = (np.random.default_rng(seed).random(count) < 0.4).astype(np.int64)
    patients = [f"p{index // per_patient}" for index in range(count)]
    return Cases([f"{i}.png" for i in range(count)], patients, labels, [{}] * count, "binary", CLASSES, "sick")


def _said(cases: Cases, strength: float, seed: int) -> Predictions:
    noise = np.random.default_rng(seed).normal(size=len(cases))
    odds = strength * (np.asarray(cases.labels) - 0.5) * 2 + noise
    sick = 1 / (1 + np.exp(-odds))
    return predictions_of(
        cases, np.stack([1 - sick, sick], axis=1), {"sick": 0.5}, scores=np.stack([-odds, odds], axis=1)
    )


def _write(path: Path, cases: Cases, answers: Predictions, folds: np.ndarray | None = None) -> Path:
    text = predictions_csv(cases, answers)
    if folds is not None:
        header, *rows = text.splitlines()
        text = "\n".join([f"fold,{header}", *(f"{fold},{row}" for fold, row in zip(folds, rows, strict=True))]) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _three(folder: Path, cases: Cases) -> list[Path]:
    strengths = {"weak": 0.3, "good": 1.2, "better": 1.3}
    return [
        _write(folder / f"{name}.csv", cases, _said(cases, strength, seed))
        for seed, (name, strength) in enumerate(strengths.items())
    ]


def test_tables_give_the_tests_of_the_answers_they_were_made_of(tmp_path: Path) -> None:
    cases = _cases()
    found = compare(line_up(_three(tmp_path, cases)), resamples=200)
    weak, good = _said(cases, 0.3, 0), _said(cases, 1.2, 1)
    pair = found.pairs[0]
    assert (pair.first, pair.second) == ("weak", "good") and len(found.pairs) == 3
    truth = np.asarray(cases.labels) == 1
    expected = delong(truth, [weak.scores[:, 1], good.scores[:, 1]]).test(0, 1)
    ranking, decisions = pair.tests
    assert ranking.p == pytest.approx(expected.p, rel=1e-6)
    assert ranking.found.difference.value == pytest.approx(expected.difference.value, abs=1e-12)  # type: ignore[union-attr]
    assert pair.auc.value == pytest.approx(expected.difference.value, abs=1e-12) and pair.auc.low > 0
    right = [np.array(one.decisions) == np.where(truth, "sick", "well") for one in (weak, good)]
    told = mcnemar(*right).to_dict()
    assert told["only_second"] > 20 and decisions.found.to_dict()["only_second"] == told["only_second"]
    assert decisions.p == pytest.approx(told["p"])
    assert pair.accuracy.value == pytest.approx(right[1].mean() - right[0].mean())


def test_p_is_corrected_over_the_pairs_of_one_test(tmp_path: Path) -> None:
    found = compare(line_up(_three(tmp_path, _cases())), resamples=100)
    for place in (0, 1):
        p = sorted(pair.tests[place].p for pair in found.pairs)
        corrected = sorted(pair.tests[place].p_holm for pair in found.pairs)
        assert corrected[0] == pytest.approx(min(1.0, 3 * p[0]))
        assert corrected[2] == pytest.approx(max(corrected[1], p[2]))


def test_sentences_say_what_is_shown_and_that_the_rest_is_not_proof_of_equality(tmp_path: Path) -> None:
    paths = _three(tmp_path, _cases())
    told = sentences(compare(line_up(paths), baseline="good", resamples=200))
    assert len(told) == 4
    assert told[0].startswith("good ranks better than weak: AUC higher by 0.3") and "DeLong, p < 0.001" in told[0]
    assert told[1].startswith("good decides better than weak") and "right alone on" in told[1]
    assert "no difference is shown" in told[2] and "does not prove them equal" in told[2]
    by_path = sentences(compare(line_up(paths), baseline=str(paths[1]), resamples=200))
    assert by_path == told
    with pytest.raises(UsageError, match="no such subject"):
        compare(line_up(paths), baseline="best")


def test_three_files_are_written_and_the_picture_shows_something(tmp_path: Path) -> None:
    found = compare(line_up(_three(tmp_path, _cases())), resamples=100)
    written = write_comparison(found, tmp_path / "out")
    report = json.loads(written[0].read_text())
    assert report["images"] == 300 and report["resampled"] == "images" and len(report["pairs"]) == 3
    assert {test["test"] for pair in report["pairs"] for test in pair["tests"]} >= {"DeLong"}
    words = written[1].read_text()
    assert words.startswith("# Comparison\n") and "| good - weak | AUC |" in words and "comparison.png" in words
    picture = cv2.imread(str(written[2]))
    assert picture is not None and picture.shape[1] > 1000 and picture.std() > 5


def test_copies_of_a_patients_image_are_no_further_patients(tmp_path: Path) -> None:
    once = _cases(100)
    same = [np.repeat(np.arange(100), 4)]
    many = replace(
        once,
        names=[f"{i}.png" for i in range(400)],
        patients=[once.patients[i] for i in same[0]],
        labels=np.asarray(once.labels)[same[0]],
        subgroups=[{}] * 400,
    )
    paths = []
    for seed, strength in enumerate((0.4, 0.9)):
        said = _said(once, strength, seed)
        copies = replace(
            said,
            probabilities=said.probabilities[same[0]],
            scores=said.scores[same[0]],
            decisions=[said.decisions[i] for i in same[0]],
        )
        paths.append(_write(tmp_path / f"{seed}.csv", many, copies))
    found = compare(line_up(paths), resamples=200)
    two = [_said(once, strength, seed) for seed, strength in enumerate((0.4, 0.9))]
    alone = delong(np.asarray(once.labels) == 1, [one.scores[:, 1] for one in two])
    assert found.pairs[0].tests[0].p == pytest.approx(alone.test(0, 1).p, rel=0.2)
    truth = np.array(CLASSES)[np.asarray(once.labels)]
    right = [np.array(one.decisions) == truth for one in two]
    assert found.pairs[0].tests[1].p == pytest.approx(mcnemar(*right).p)
    assert found.to_dict()["resampled"] == "patients" and not found.notes


def test_what_one_class_alone_cannot_tell_is_said(tmp_path: Path) -> None:
    cases = replace(_cases(40), labels=np.ones(40, np.int64))
    paths = [_write(tmp_path / f"{seed}.csv", cases, _said(cases, 0.5, seed)) for seed in range(2)]
    found = compare(line_up(paths), resamples=100)
    write_comparison(found, tmp_path / "out")  # JSON has no NaN
    assert sentences(found)[0] == "1 against 0: AUC is not known of one of them; no test can be made on these images."
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["subjects"]["0"]["auc"]["value"] is None


# Folds


def test_the_corrected_t_test_is_nadeau_and_bengios() -> None:
    """K = 5 folds: error = sd * sqrt(1/5 + 1/4), 4 degrees of freedom; worked by hand."""
    first, second = [0.80, 0.82, 0.79, 0.81, 0.83], [0.84, 0.83, 0.84, 0.83, 0.86]
    found = fold_tests(first, second, 0.25)
    d = [0.04, 0.01, 0.05, 0.02, 0.03]  # mean 0.03, variance 0.001 / 4
    t = 0.03 / math.sqrt(0.45 * 0.00025)
    assert found.corrected_t == pytest.approx(t) and found.corrected_p == pytest.approx(2 * stats.t.sf(t, 4))
    assert found.mean.low == pytest.approx(0.03 - stats.t.ppf(0.975, 4) * math.sqrt(0.45 * 0.00025))
    plain = stats.ttest_rel(second, first)
    assert (found.t, found.t_p) == pytest.approx((plain.statistic, plain.pvalue))
    assert found.corrected_p > found.t_p
    assert found.wilcoxon_p == found.least_p == 0.0625 and found.rank_biserial == 1
    assert found.d_z == pytest.approx(np.mean(d) / np.std(d, ddof=1))
    same = fold_tests(first, first, 0.25)
    assert same.corrected_p == same.wilcoxon_p == 1 and same.d_z == 0


def test_the_correction_holds_its_level_where_folds_share_their_images_and_the_plain_test_does_not() -> None:
    """Differences correlate by test_share / (1 + test_share), which is what the correction assumes."""
    rng = np.random.default_rng(0)
    hits, folds, share = np.zeros(2), 10, 1 / 9
    rho = share / (1 + share)
    for _ in range(300):
        d = math.sqrt(rho) * rng.normal() + math.sqrt(1 - rho) * rng.normal(size=folds)
        found = fold_tests([0.0] * folds, d.tolist(), share)
        hits += (found.corrected_p < 0.05, found.t_p < 0.05)
    assert hits[0] / 300 < 0.08 < 0.12 < hits[1] / 300


def test_cross_validated_tables_are_tested_over_their_folds(tmp_path: Path) -> None:
    cases = _cases(250)
    folds = np.arange(250) % 5
    (tmp_path / "cv").mkdir()
    (tmp_path / "cv" / "crossval.json").write_text("{}")
    said = {name: _said(cases, strength, seed) for seed, (name, strength) in enumerate({"a": 0.5, "b": 1.5}.items())}
    for name, answers in said.items():
        _write(tmp_path / "cv" / f"out-of-fold-{name}.csv", cases, answers, folds)
    found = compare(line_up([tmp_path / "cv"]), resamples=100)
    truth = np.asarray(cases.labels) == 1
    areas = {n: [roc_auc(truth[folds == k], s.scores[folds == k, 1]) for k in range(5)] for n, s in said.items()}
    assert found.folds == 5 and found.auc["b"].value == pytest.approx(np.mean(areas["b"]))
    (test,) = found.pairs[0].best("ranking")
    expected = fold_tests(areas["a"], areas["b"], 0.25)
    assert test.p == pytest.approx(expected.corrected_p) and test.found.differences == pytest.approx(
        expected.differences
    )  # type: ignore[union-attr]
    assert not any(type(one.found).__name__ == "AreaTest" for one in found.pairs[0].tests)  # no one ranking of 5 models
    assert any("Wilcoxon test cannot give a p below 0.0625" in note for note in found.notes)
    assert "corrected for shared training images" in sentences(found)[0]
    write_comparison(found, tmp_path / "out")
    assert "## Tests over folds" in (tmp_path / "out" / "comparison.md").read_text()
    _write(tmp_path / "other.csv", cases, said["a"], folds[::-1])
    with pytest.raises(DataError, match="other folds"):
        line_up([tmp_path / "cv", tmp_path / "other.csv"])


# Other tasks


def test_each_class_of_three_is_tested_by_itself(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    cases = Cases(
        [str(i) for i in range(240)], [str(i) for i in range(240)], labels, [{}] * 240, "multiclass", list("abc")
    )
    paths = []
    for strength in (0.0, 2.0):
        logits = rng.normal(size=(240, 3)) + strength * np.eye(3)[labels]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        paths.append(_write(tmp_path / f"{strength}.csv", cases, predictions_of(cases, probabilities, {})))
    found = compare(line_up(paths), resamples=100)
    assert [one.finding for one in found.pairs[0].tests] == ["a", "b", "c", ""]
    ranking, decisions = sentences(found)
    assert "2.0 ranks better for a (p < 0.001), b (p < 0.001), c (p < 0.001)." in ranking
    assert decisions.startswith("2.0 decides better than 0.0")


def test_unknown_findings_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 2)) < 0.5).astype(float)
    labels[:50, 1] = np.nan
    cases = Cases(
        [str(i) for i in range(200)], [str(i) for i in range(200)], labels, [{}] * 200, "multilabel", list("xy")
    )
    paths = [
        _write(tmp_path / f"{seed}.csv", cases, predictions_of(cases, rng.random((200, 2)), {})) for seed in range(2)
    ]
    lineup = line_up(paths)
    np.testing.assert_array_equal(lineup.cases.labels, labels)
    found = compare(lineup, resamples=100)
    tested = {(one.of, one.finding) for one in found.pairs[0].tests}
    assert tested == {("ranking", "x"), ("ranking", "y"), ("decisions", "x"), ("decisions", "y")}
    expected = delong(labels[50:, 1] == 1, [one.scores[50:, 1] for one in lineup.answers.values()])
    assert found.pairs[0].tests[1].p == pytest.approx(expected.test(0, 1).p)


# Models and folders


def test_a_model_and_the_table_of_its_own_answers_do_not_differ(tmp_path: Path) -> None:
    write_run(tmp_path)
    model = tmp_path / VARIANTS / "fp32.onnx"
    write_evaluation(evaluate(open_subject(model), resamples=100), tmp_path / "evaluation-fp32-test")
    lineup = line_up([model, tmp_path / "evaluation-fp32-test", tmp_path / VARIANTS / "int8-u8s8.onnx"])
    assert list(lineup.answers) == ["fp32", "fp32-test", "int8-u8s8"]
    found = compare(lineup, resamples=100)
    same = found.pairs[0]
    assert same.auc.value == pytest.approx(0, abs=1e-9) and same.tests[1].p == 1.0
    assert lineup.where == "test" and found.patients == 42 and len(lineup.cases) == 84


def test_folders_stand_for_what_they_hold(tmp_path: Path) -> None:
    cases = _cases(20)
    for name in ("pixels-knn", "hog-svm"):
        for split in ("val", "test"):
            _write(tmp_path / "baselines" / name / f"{split}.csv", cases, _said(cases, 1.0, 0))
    assert [path.parent.name for path in expand(tmp_path / "baselines", "test")] == ["hog-svm", "pixels-knn"]
    assert read_subject(tmp_path / "baselines" / "hog-svm" / "test.csv").names[0] == "hog-svm"
    run = tmp_path / "run"
    for stage in ("teacher", "student"):
        (run / stage).mkdir(parents=True)
        (run / stage / "stage.json").write_text("{}")
    (run / "recipe.yaml").write_text("")
    assert expand(run, "test") == [run / "teacher", run / "student"]
    (tmp_path / "device" / "slots").mkdir(parents=True)
    assert expand(tmp_path / "device", "test") == [tmp_path / "device"]  # an installed bundle
    with pytest.raises(UsageError, match="holds no answers"):
        expand(tmp_path, "test")


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    cases = _cases(30)
    one = _write(tmp_path / "one.csv", cases, _said(cases, 1.0, 0))
    flipped = replace(cases, labels=1 - np.asarray(cases.labels))
    wrong = _write(tmp_path / "wrong.csv", flipped, _said(cases, 1.0, 0))
    away = replace(cases, names=[f"x{name}" for name in cases.names])
    other = _write(tmp_path / "other.csv", away, _said(cases, 1.0, 0))
    named = replace(cases, classes=["well", "ill"], positive="ill")
    classes = _write(tmp_path / "classes.csv", named, replace(_said(cases, 1.0, 0), decisions=["well"] * 30))
    (tmp_path / "bad.csv").write_text("image,score\na,1\n")
    for second, told in ((wrong, "disagree"), (other, "no image in common"), (classes, "well, ill"),
                         (tmp_path / "bad.csv", "no table of predictions")):  # fmt: skip
        with pytest.raises((DataError, UsageError), match=told) as caught:
            line_up([one, second])
        assert caught.value.next_step
    for paths, told in (([one], "needs two subjects"), ([one, one], "named twice")):
        with pytest.raises(UsageError, match=told):
            line_up(paths)
    part = replace(cases, names=[*cases.names[:25], *away.names[25:]])
    lineup = line_up([one, _write(tmp_path / "part.csv", part, _said(cases, 1.0, 1))])
    assert len(lineup.cases) == 25 and any("5 images were not answered" in text for text in lineup.warnings)
