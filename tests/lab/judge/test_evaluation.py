"""Evaluation of a run's artifact and of images from outside: what is asked, what is left out, what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
from made_run import VARIANTS, write_run
from sklearn.metrics import roc_auc_score

from edgedx.core.errors import DataError, UsageError
from edgedx.core.stats.cases import Cases, predictions_of, predictions_of_logits, ranking_scores
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.clinic.samples import read_predictions
from edgedx.lab.data.given_images import list_images
from edgedx.lab.evidence.compare.tables import read_subject
from edgedx.lab.judge.evaluation import evaluate, wrong_first
from edgedx.lab.judge.evaluation_files import predictions_csv, write_evaluation
from edgedx.lab.judge.evaluation_plots import NAMES
from edgedx.lab.judge.figures import figures_with_intervals
from edgedx.lab.judge.subject import open_subject


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    write_run(folder)
    return folder


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_variant_is_run_and_its_answers_give_the_figures(made: Path, tmp_path: Path) -> None:
    subject = open_subject(made / VARIANTS / "fp32.onnx")
    found = evaluate(subject, resamples=100)
    assert found.figures.patients * 2 == found.figures.images == 84
    write_evaluation(found, tmp_path)
    rows = _rows(tmp_path / "predictions.csv")
    truth = [row["truth"] == "bright" for row in rows]
    expected = roc_auc_score(truth, [float(row["bright"]) for row in rows])
    assert 0.6 < expected < 1.0
    assert found.figures.overall["auc_roc"].value == pytest.approx(expected, abs=1e-6)
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert report["resampled"] == "patients" and report["largest_gap"]["compared"] == 6
    assert report["wrong"] == sum(row["truth"] != row["decision"] for row in rows) > 0
    for name in NAMES:
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None and picture.shape[1] > 500 and picture.std() > 5, name


def test_the_table_of_answers_is_what_the_gate_reads(made: Path, tmp_path: Path) -> None:
    found = evaluate(open_subject(made / VARIANTS / "fp32.onnx"), resamples=100)
    path = tmp_path / "answers.csv"
    path.write_text(predictions_csv(found.asked.cases, found.answers))
    again = read_predictions(path, found.asked.cases, {})
    assert list(again.decisions) == list(found.answers.decisions)
    assert np.array_equal(again.probabilities, found.answers.probabilities)
    assert np.array_equal(again.scores, found.answers.scores)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_a_table_of_predictions_ranks_as_the_figures_beside_it_do(task: str, tmp_path: Path) -> None:
    """An AUC of .6319 was reported beside a table whose nine digits gave .6285 (on an EPYC with AVX-512)."""
    rng = np.random.default_rng(0)
    names, classes = [f"{number}.png" for number in range(200)], ["a", "b", "c"][: 2 if task == "binary" else 3]
    labels = rng.integers(0, 2, (200, 3)).astype(float) if task == "multilabel" else rng.integers(0, len(classes), 200)
    # closer than nine digits, and so sure that a probability rounds to 1
    logits = np.repeat(rng.choice([-0.3, 0.1, 19.0], (100, len(classes))), 2, axis=0)
    logits[::2] += rng.normal(0, 1e-9, logits[::2].shape)
    cases = Cases(names, names, labels, [{}] * 200, task, classes, "b" if task == "binary" else None)
    written = predictions_of_logits(cases, logits, 0.7, OperatingPoint(name="argmax", threshold={}))
    (tmp_path / "t.csv").write_text(predictions_csv(cases, written))
    again = read_predictions(tmp_path / "t.csv", cases, {})
    assert len(np.unique(written.scores[:, 0])) > 50, "rounding must not make ties"
    figures = [figures_with_intervals(cases, one, resamples=50).overall for one in (written, again)]
    assert figures[0] == figures[1]
    compared = read_subject(tmp_path / "t.csv", cases).answers
    assert np.array_equal(compared.scores, written.scores)


def test_the_last_bit_of_a_probability_ranks_nothing() -> None:
    """It is the processor's: images that are alike would be ordered otherwise on another one."""
    sure = np.array([0.3, np.nextafter(0.3, 1), 0.3 + 1e-11])
    for task, probabilities in (("binary", np.stack([1 - sure, sure], axis=1)), ("multilabel", sure[:, None])):
        first, second, third = ranking_scores(probabilities, task)[:, -1]
        assert first == second < third


def test_nothing_is_left_out_in_silence(made: Path, tmp_path: Path) -> None:
    """Damaged, blank, missing, of no class, and outside: each is counted with its reason; the rest is judged."""
    lines = ["image,label,patient_id,sex"]
    for number in range(24):
        tiny.write_picture(tmp_path / f"{number}.png", tiny.picture(9000 + number, bright=number % 2 == 1))
        lines.append(f"{number}.png,{tiny.CLASSES[number % 2]},p{number // 2},{'FM'[number % 2]}")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    tiny.write_picture(tmp_path / "blank.png", np.full((40, 40), 7, np.uint8))
    (tmp_path / "note.png").write_text("not an image")
    names = ("cut.png", "blank.png", "note.png", "gone.png", "../x.png", "0.png")
    lines += [f"{name},dark,q,F" for name in names] + ["1.png,purple,q,F", "2.png,,q,F"]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    subject = open_subject(made / VARIANTS / "fp32.onnx")
    found = evaluate(subject, data=tmp_path / "table.csv", resamples=100)
    assert found.figures.images == 24 and found.figures.patients == 12
    reasons = dict(found.asked.left_out)
    assert len(found.asked.left_out) == 8
    assert reasons["gone.png"] == "no such file" and reasons["../x.png"] == "path leaves the data set"
    assert reasons["0.png"] == "listed twice" and reasons["note.png"] == "unreadable: UNKNOWN_FORMAT"
    assert reasons["cut.png"].startswith("unreadable: ") and "BLANK" in reasons["blank.png"]
    written = write_evaluation(found, tmp_path / "out")
    assert len(_rows(tmp_path / "out" / "excluded.csv")) == 8 and tmp_path / "out" / "excluded.csv" in written
    assert sum(found.to_dict()["left_out"].values()) == 8


def test_images_of_the_training_set_are_noticed(made: Path) -> None:
    subject = open_subject(made / VARIANTS / "fp32.onnx")
    found = evaluate(subject, data=made / "set" / "labels.csv", resamples=100)
    assert found.figures.images == 140
    assert "56 of these images are in the model's training or validation set: figures flatter" in found.asked.warnings


def test_a_folder_for_each_class(made: Path, tmp_path: Path) -> None:
    for number in range(8):
        tiny.write_picture(tmp_path / tiny.CLASSES[number % 2] / f"{number}.png", tiny.picture(number, number % 2 == 1))
    tiny.write_picture(tmp_path / "purple" / "9.png", tiny.picture(9))
    subject = open_subject(made / VARIANTS / "fp32.onnx")
    found = evaluate(subject, data=tmp_path, resamples=100)
    assert found.figures.support == {"dark": 4, "bright": 4}
    assert found.asked.left_out == [("purple/9.png", "its folder is no class of the model")]
    with pytest.raises(DataError, match="lists no image"):
        evaluate(subject, data=tmp_path / "dark")


def test_a_column_for_each_finding_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,a,b,age\nx.png,1,,40\ny.png,0,1,50\nz.png,,,60\nw.png,2,0,70\n")
    one, two, three, four = list_images(tmp_path / "t.csv", "multilabel", ["a", "b"])
    assert one.label[0] == 1 and np.isnan(one.label[1]) and one.groups == {"age": "40"}
    assert (
        two.label == (0, 1) and three.problem == "missing label" and four.problem == "a label is not 0, 1, -1 or empty"
    )


def test_spellings_of_a_patient_are_one_and_damaged_paths_none(tmp_path: Path) -> None:
    """CLAM PR 90; backblaze-backup-checker 298: three patients of one, and a traceback."""
    rows = ["image,label,patient_id", "0.png,a,007", "1.png,b,7", "2.png,a,7.0", "\x003.png,a,8", "4.png,A,9"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    listed = list_images(tmp_path / "t.csv", "binary", ["a", "b"])
    assert [given.patient for given in listed[:3]] == ["007"] * 3
    assert listed[3].problem.startswith("damaged image path")
    assert listed[4].problem == "its label is no class of the model: did you mean 'a'?"


def test_a_column_of_file_names_is_no_subgroup(made: Path, tmp_path: Path) -> None:
    """Each of 30,000 characters was printed, as the value of a subgroup that one image had."""
    lines = ["image,label,source_file,site"]
    for index in range(40):
        tiny.write_picture(tmp_path / f"{index}.png", tiny.picture(index, bright=index % 2 == 1))
        site = "north" if index < 20 else "south"
        lines.append(f"{index}.png,{tiny.CLASSES[index % 2]},original-{'x' * 200}-{index}.png,{site}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    found = evaluate(open_subject(made / VARIANTS / "fp32.onnx"), data=tmp_path / "t.csv", resamples=50)
    assert {part.column for part in found.parts.subgroups} == {"site"}
    assert ("source_file", "40 values among 40 images are no groups") in found.parts.not_judged
    assert max(len(f"{name} {why}") for name, why in found.parts.not_judged) < 120


def test_mistakes_come_worst_first() -> None:
    cases = Cases(list("abcd"), list("abcd"), np.array([1, 1, 0, 1]), [{}] * 4, "binary", ["well", "sick"], "sick")
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    assert wrong_first(cases, predictions_of(cases, probabilities, {"sick": 0.5})) == [1, 2, 0]
    findings = Cases(list("ab"), list("ab"), np.array([[1, np.nan], [0, 1.0]]), [{}] * 2, "multilabel", ["x", "y"])
    said = predictions_of(findings, np.array([[0.9, 0.9], [0.2, 0.3]]), {})
    assert wrong_first(findings, said) == [1]  # what is not known is not wrong
    assert "y?" in predictions_csv(findings, said).splitlines()[1]


def test_a_checkpoint_is_asked_too(made: Path, tmp_path: Path) -> None:
    from edgedx.core.settings.recipe import load_recipe
    from edgedx.lab.network.backbone import build_model
    from edgedx.lab.network.checkpoint import save_checkpoint
    from edgedx.lab.run.card import ModelCard

    recipe = load_recipe(str(made / "run" / "recipe.yaml"), [])
    card = ModelCard(
        backbone="test_efficientnet",
        task=recipe.task,
        preprocess=recipe.preprocess,
        role="teacher",
        weights_from="from scratch",
        operating_points=[OperatingPoint(name="youden", threshold={"bright": 0.5})],
    )
    save_checkpoint(tmp_path / "teacher", build_model("test_efficientnet", 2, recipe.preprocess), card)
    with pytest.raises(UsageError, match="lies in no run"):
        evaluate(open_subject(tmp_path / "teacher"))
    found = evaluate(open_subject(tmp_path / "teacher", run=made / "run"), point="argmax", resamples=100)
    assert found.figures.images == 84 and found.answers.point == "argmax"
    with pytest.raises(UsageError, match="no operating point 'best'"):
        evaluate(open_subject(tmp_path / "teacher", run=made / "run"), point="best")


def test_a_run_stands_for_what_ships(made: Path) -> None:
    subject = open_subject(made / "run")
    assert subject.name == "int8-u8s8" and subject.path == made / VARIANTS / "int8-u8s8.onnx"
