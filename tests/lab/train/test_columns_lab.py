"""A head of columns in torch, in training and in ONNX: the same answer everywhere, the image's path untouched."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import quantizing
import tiny
import torch
from networks import needs_rtx

from edgedx.core.bundle.onnx_walk import check_onnx
from edgedx.core.errors import CheckpointError, DataError, UsageError
from edgedx.core.preprocess import normalise
from edgedx.core.settings.columns import Column, FittedColumn, encode_rows, fit_columns, make_up, present
from edgedx.core.settings.recipe import Recipe
from edgedx.core.settings.recipe_training import Augment
from edgedx.core.stats.metrics import roc_auc
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.dicom.writing.make import PatientFacts, write_dicom
from edgedx.lab.compress.committee import Committee, open_teachers
from edgedx.lab.data.dataset import MANIFEST, Dataset, build_dataset, load_dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.data.prepare import data_stage
from edgedx.lab.data.unlabeled import open_unlabeled
from edgedx.lab.feed.feed import Feed, mix
from edgedx.lab.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedx.lab.network.column_head import WithColumns, add_columns, head_logits, head_of, image_part, with_columns
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.quantize.cam import add_cam
from edgedx.lab.quantize.int8 import make_int8
from edgedx.lab.quantize.to_fp16 import to_fp16
from edgedx.lab.quantize.to_onnx import check_parity, export_onnx
from edgedx.lab.run.card import ModelCard
from edgedx.lab.run.stage import stage_settings
from edgedx.lab.ship.engines import build_ahead
from edgedx.lab.train.loop import fit
from edgedx.lab.train.phase import Phase, Training
from edgedx.lab.train.tasks import Classify

AGE = Column(name="age", kind="number", header="PatientAgeYears")
SEX = Column(name="sex", kind="category", categories=["F", "M"], header="PatientSex")
FITTED = [FittedColumn(**AGE.model_dump(), mean=50.0, spread=10.0), FittedColumn(**SEX.model_dump())]
USE = {"use": [AGE.model_dump(), SEX.model_dump()]}
SPEC = quantizing.SPEC


def model(seed: int = 0) -> WithColumns:
    """A model whose columns count, as if it were trained."""
    whole = with_columns(quantizing.torch_backbone(), FITTED, 2)
    torch.manual_seed(seed)
    assert isinstance(whole, WithColumns)
    torch.nn.init.normal_(whole.head.weight_out, std=0.7)
    return whole.eval()


def told(data: Dataset, seed: int = 0) -> Dataset:
    """The data set with columns of nobody."""
    return replace(data, columns=make_up(FITTED, len(data), np.random.default_rng(seed)), fitted=tuple(FITTED))


# The head


def test_a_new_head_says_nothing_and_absent_is_the_same_as_not_given() -> None:
    image = quantizing.torch_backbone()
    whole, images = with_columns(image, FITTED, 2), torch.randn(3, 1, 32, 32)
    columns = torch.from_numpy(make_up(FITTED, 3, np.random.default_rng(0)))
    with torch.inference_mode():
        assert torch.equal(whole(images, columns), image(images))
        taught = model()
        assert torch.equal(taught(images), taught(images, torch.zeros(3, 4)))
        added = torch.from_numpy(head_logits(taught.head, columns.numpy()))  # type: ignore[arg-type]
        assert torch.allclose(taught(images, columns), image_part(taught)(images) + added, atol=1e-6)
        assert added.abs().max() > 0.1


def test_without_columns_nothing_is_wrapped() -> None:
    image = quantizing.torch_backbone()
    assert with_columns(image, [], 2) is image and image_part(image) is image and head_of(image) is None
    graph = quantizing.residual()
    assert add_columns(graph, image) is graph
    assert head_logits(None, np.zeros((2, 4), np.float32)) == 0.0


# ONNX


def test_the_graph_answers_as_torch_does_with_without_and_with_some_columns() -> None:
    whole, data = model(), told(quantizing.images(24))
    graph = add_columns(export_onnx(whole, SPEC), whole)
    check_onnx(graph, "the graph")
    assert [taken.name for taken in onnx.load_from_string(graph).graph.input] == ["image", "columns"]
    assert check_parity(whole, graph, data, SPEC)["max_difference"] <= 1e-4
    assert data.columns is not None and not present(FITTED, data.columns).all()  # some are absent, some are not
    images = normalise(data.canvases, SPEC)
    with OnnxRunner(graph) as runner, torch.inference_mode():
        for count in (1, 7):
            bare = runner.infer(images[:count]).logits
            assert np.allclose(bare, whole(torch.from_numpy(images[:count])).numpy(), atol=1e-4)
        full = runner.infer(images, data.columns)
        assert full.features is not None and full.features.shape[0] == 24
        assert np.abs(full.logits - runner.infer(images).logits).max() > 0.1


def test_quantized_mapped_and_half_graphs_take_the_head_and_it_stays_in_float() -> None:
    whole, data = model(), told(quantizing.images(24))
    added = head_logits(whole.head, data.columns)
    shown = add_cam(quantizing.residual(), normalise(data.canvases, SPEC))
    whole_graph = add_columns(shown, whole)
    for graph, joined, near in ((shown, whole_graph, 1e-5), (to_fp16(shown), to_fp16(whole_graph), 0.02)):
        check_onnx(joined, "the graph")
        with OnnxRunner(graph) as image, OnnxRunner(joined) as both:
            images = normalise(data.canvases, SPEC)
            one, two = image.infer(images, cam=True), both.infer(images, data.columns, cam=True)
        assert np.allclose(two.logits, one.logits + added, atol=near * 5)
        assert one.cam is not None and two.cam is not None and np.allclose(one.cam, two.cam, atol=near * 5)


def test_eight_bits_are_judged_with_the_columns_and_trained_along_them(tmp_path: Path) -> None:
    whole = model()
    train, val = told(quantizing.images(48), 1), told(quantizing.images(32, 500), 2)
    recipe = quantizing.recipe(qat="always", qat_epochs=1.0, max_noise=0.0001, max_float_share=0.0)
    card = ModelCard(backbone="test_efficientnet", task=recipe.task, preprocess=SPEC, role="teacher",
                     weights_from="none", columns=FITTED)  # fmt: skip
    save_checkpoint(tmp_path / "teacher", whole, card)
    teacher = load_checkpoint(tmp_path / "teacher")
    before = {name: value.clone() for name, value in whole.head.state_dict().items()}
    best, record = make_int8(quantizing.residual(), recipe, teacher, train, val, "u8s8", [True], tmp_path / "qat",
                             here=False, head=whole.head)  # fmt: skip
    assert record["qat"]["history"]
    assert all(torch.equal(value, before[name]) for name, value in whole.head.state_dict().items())
    joined = add_columns(best.model, whole)
    check_onnx(joined, "8 bits")
    with OnnxRunner(joined, fused=False) as runner:
        logits = runner.infer(normalise(val.canvases, SPEC), val.columns).logits
        bare = runner.infer(normalise(val.canvases, SPEC)).logits
    assert np.allclose(logits, best.logits, atol=1e-4)  # what was judged is what ships
    assert np.abs(logits - bare).max() > 0.1


# Training


def labelled(count: int = 64) -> Dataset:
    """Noise whose label is told by the age alone."""
    labels = np.arange(count) % 2
    values = [{"age": str(30 + 40 * int(label) + place % 5), "sex": ""} for place, label in enumerate(labels)]
    fitted = tuple(fit_columns([AGE, SEX], [*values, {"sex": "F"}]))
    return replace(tiny.dataset(labels), columns=encode_rows(fitted, values), fitted=fitted)


def _fit(data: Dataset, **changes: Any) -> tuple[torch.nn.Module, Recipe]:
    recipe = tiny.recipe(columns=USE, train={"batch_size": 16, "ema": 0.0}, **changes)
    torch.manual_seed(0)
    image = quantizing.torch_backbone()
    whole = with_columns(image, data.fitted, 2)
    fit(Training(whole, Classify(recipe.task), data, data, recipe, [Phase("all layers", 0, 0.02, steps=30)]))
    return whole, recipe


def test_what_the_image_does_not_show_is_learned_from_the_columns_and_absence_too() -> None:
    data = labelled()
    whole, _ = _fit(data)
    logits = predict(TorchRunner(whole), data, SPEC)
    assert roc_auc(data.labels == 1, logits[:, 1] - logits[:, 0]) > 0.95
    bare = predict(TorchRunner(whole), replace(data, columns=np.zeros_like(data.columns), fitted=data.fitted), SPEC)
    chance = 1 / (1 + np.exp(bare[:, 0] - bare[:, 1]))
    assert 0.2 < chance.mean() < 0.8  # asked without, it does not fall to one side


class Killed(Classify):
    """Ends the training at its fourth step."""

    calls = 0

    def __call__(self, *given: Any) -> Any:
        self.calls += 1
        if self.calls == 4:
            raise KeyboardInterrupt
        return super().__call__(*given)


def test_a_killed_training_goes_on_to_the_very_same_weights(tmp_path: Path) -> None:
    data = labelled(32)
    recipe = tiny.recipe(columns={**USE, "absent": 0.5}, augment={"mixup": 0.3},
                         train={"batch_size": 8, "ema": 0.9, "checkpoint_minutes": 1e-6})  # fmt: skip
    phases = [Phase("new head", 0, 0.02, frozen=True, steps=2), Phase("all layers", 0, 0.01, steps=4)]
    weights = []
    for kill in (False, True):
        torch.manual_seed(0)
        whole = with_columns(quantizing.torch_backbone(), data.fitted, 2)
        state = tmp_path / f"{kill}.safetensors"
        if kill:
            with pytest.raises(KeyboardInterrupt):
                fit(Training(whole, Killed(recipe.task), data, data, recipe, phases), state=state)
            whole = with_columns(quantizing.torch_backbone(), data.fitted, 2)
        fit(Training(whole, Classify(recipe.task), data, data, recipe, phases), state=state, resume=True)
        weights.append(whole.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_frozen_base_trains_the_head_of_the_columns_too() -> None:
    data = labelled(32)
    whole = with_columns(quantizing.torch_backbone(), data.fitted, 2)
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    recipe = tiny.recipe(columns=USE, train={"batch_size": 16, "ema": 0.0})
    fit(Training(whole, Classify(recipe.task), data, data, recipe, [Phase("new head", 0, 0.02, frozen=True, steps=3)]))
    moved = {name for name, value in whole.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"head", "image"}
    assert {name for name in moved if name.startswith("image")} == {"image.classifier.weight", "image.classifier.bias"}


def test_batches_bring_each_image_its_own_columns_the_same_from_any_step_on() -> None:
    data, options = labelled(40), Augment(rotation=0, zoom=0, shift=0, intensity=0)
    data.canvases[:] = np.arange(40, dtype=np.uint8)[:, None, None]
    task = tiny.recipe().task

    def feed(absent: float) -> Feed:
        return Feed(data, task, SPEC, options, batch_size=8, sampler=False, seed=0, absent=absent)

    for images, targets, columns in feed(0.0).batches(0, 5):
        rows = torch.round((images.mean(dim=(1, 2, 3)) * 0.25 + 0.5) * 255).long().numpy()
        assert data.columns is not None and np.array_equal(columns.numpy(), data.columns[rows])
        assert np.array_equal(targets.argmax(dim=1).numpy(), data.labels[rows])
    whole = list(feed(0.5).batches(0, 10))
    again = list(feed(0.5).batches(7, 10))
    assert all(
        torch.equal(a, b) for one, two in zip(whole[7:], again, strict=True) for a, b in zip(one, two, strict=True)
    )
    flags = torch.cat([columns[:, 1] for *_, columns in whole])
    assert 0.3 < float(flags.mean()) < 0.7
    assert not torch.equal(whole[0][2], whole[5][2])  # another epoch, other columns absent


def test_mixup_mixes_the_columns_as_it_mixes_the_labels() -> None:
    images, targets, columns = torch.rand(8, 1, 4, 4), torch.eye(8), torch.eye(8)
    _, labels, mixed = mix(torch.tensor(0.6), torch.randperm(8), images, targets, columns)
    assert torch.equal(labels, mixed) and not torch.equal(mixed, columns)


def test_a_committee_hands_the_columns_on_and_its_members_have_the_same() -> None:
    recipe = tiny.recipe(columns=USE)
    card = ModelCard(backbone="test_efficientnet", task=recipe.task, preprocess=SPEC, role="teacher",
                     weights_from="none", columns=FITTED)  # fmt: skip
    one, two = model(0), model(1)
    members = [Checkpoint(one, card), Checkpoint(two, card)]
    images, columns = torch.randn(4, 1, 32, 32), torch.from_numpy(make_up(FITTED, 4, np.random.default_rng(0)))
    with torch.inference_mode():
        said = torch.softmax(Committee(members)(images, columns), dim=1)
        mean = (torch.softmax(one(images, columns), 1) + torch.softmax(two(images, columns), 1)) / 2
    assert torch.allclose(said, mean, atol=1e-5)


def test_teachers_that_are_told_other_columns_are_refused(tmp_path: Path) -> None:
    recipe = tiny.recipe(columns=USE)
    other = [FITTED[0].model_copy(update={"mean": 51.0}), FITTED[1]]
    for name, columns in (("one", FITTED), ("two", other)):
        card = ModelCard(backbone="test_efficientnet", task=recipe.task, preprocess=SPEC, role="teacher",
                         weights_from="none", columns=columns)  # fmt: skip
        save_checkpoint(tmp_path / name, model(), card)
    with pytest.raises(UsageError, match="other columns"):
        open_teachers([tmp_path / "two"], load_checkpoint(tmp_path / "one"))


def test_a_checkpoint_keeps_head_and_fit(tmp_path: Path) -> None:
    whole = model()
    card = ModelCard(backbone="test_efficientnet", task=tiny.recipe().task, preprocess=SPEC, role="teacher",
                     weights_from="none", columns=FITTED)  # fmt: skip
    save_checkpoint(tmp_path, whole, card)
    found = load_checkpoint(tmp_path)
    assert found.card.columns == FITTED
    images, columns = torch.randn(3, 1, 32, 32), torch.from_numpy(make_up(FITTED, 3, np.random.default_rng(0)))
    with torch.inference_mode():
        assert torch.equal(found.model(images, columns), whole(images, columns))


def test_a_checkpoint_whose_columns_are_not_its_weights_is_refused(tmp_path: Path) -> None:
    card = ModelCard(backbone="test_efficientnet", task=tiny.recipe().task, preprocess=SPEC, role="teacher",
                     weights_from="none", columns=FITTED[:1])  # fmt: skip
    save_checkpoint(tmp_path, model(), card)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_checkpoint(tmp_path)


# Data


def table(folder: Path, **changes: Any) -> Recipe:
    entries = tiny.write_set(folder, patients=20)
    for place, entry in enumerate(entries):
        entry["age"] = "" if place % 4 == 0 else str(20 + place)
    tiny.write_table(folder, entries)
    return tiny.recipe(folder, columns=USE, data={"subgroup_columns": ["age"], **changes})


def test_a_data_set_keeps_its_columns_aligned_through_file_split_and_subset(tmp_path: Path) -> None:
    recipe = table(tmp_path / "set")
    summary = build_dataset(recipe, tmp_path / "data")
    data = load_dataset(tmp_path / "data", recipe.task.kind, recipe.preprocess)
    with (tmp_path / "set" / "labels.csv").open(newline="") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    assert data.columns is not None and data.columns.shape == (40, 4)
    expected = encode_rows(data.fitted, [{"age": rows[name]["age"], "sex": rows[name]["sex"]} for name in data.names])
    assert np.array_equal(data.columns, expected)
    train = data.subset("train")
    ages = [float(rows[name]["age"]) for name in train.names if rows[name]["age"]]
    assert (data.fitted[0].mean, data.fitted[0].spread) == pytest.approx((np.mean(ages), np.std(ages)))
    assert summary["columns_present"]["age"]["train"] == len(ages)
    assert data.subgroups[0] == {"age": rows[data.names[0]]["age"]}  # a subgroup of the same name is another thing
    batches = list(train.inputs(7))
    assert np.array_equal(np.concatenate([columns for _, columns in batches]), train.columns)  # type: ignore[arg-type]
    assert np.array_equal(np.concatenate([part for part, _ in batches]), np.concatenate(list(train.batches(7))))


def test_a_changed_value_is_another_data_set_and_no_columns_are_the_one_of_before(tmp_path: Path) -> None:
    recipe = table(tmp_path / "set")
    first = build_dataset(recipe, tmp_path / "a")["digest"]
    plain = recipe.model_copy(update={"columns": tiny.recipe().columns})
    without = build_dataset(plain, tmp_path / "b")
    assert "columns" not in without and without["digest"] != first
    with (tmp_path / "set" / "labels.csv").open(newline="") as stream:
        entries = list(csv.DictReader(stream))
    entries[5]["age"] = "99"
    tiny.write_table(tmp_path / "set", entries)
    assert build_dataset(recipe, tmp_path / "a")["digest"] != first
    assert build_dataset(plain, tmp_path / "b")["digest"] == without["digest"]
    assert load_dataset(tmp_path / "b", "binary", plain.preprocess).columns is None


def test_records_of_runs_without_columns_know_nothing_of_them(tmp_path: Path) -> None:
    plain = table(tmp_path / "set").model_copy(update={"columns": tiny.recipe().columns})
    assert "columns" not in stage_settings(plain, "task", "train")
    assert "columns" not in data_stage(plain, tmp_path / "run")["settings"]
    assert stage_settings(table(tmp_path / "set"), "task")["columns"]["use"][0]["name"] == "age"


def test_a_table_without_the_column_is_an_error_unless_a_header_may_have_it(tmp_path: Path) -> None:
    recipe = table(tmp_path / "set")
    alone = Column(name="weight", kind="number")
    with pytest.raises(DataError, match="no column 'weight'"):
        build_dataset(tiny.recipe(tmp_path / "set", columns={"use": [alone.model_dump()]}), tmp_path / "a")
    view = {"name": "view", "kind": "category", "categories": ["AP", "PA"], "header": "ViewPosition"}
    with pytest.raises(DataError, match="no training image has a value"):  # a PNG has no header
        build_dataset(tiny.recipe(tmp_path / "set", columns={"use": [view]}), tmp_path / "a")
    assert not (tmp_path / "a").exists() and recipe.columns.use


def test_dicom_headers_fill_what_the_table_lacks(tmp_path: Path) -> None:
    entries = []
    for place in range(16):
        name, bright = f"{place}.dcm", place % 2 == 1
        subject = PatientFacts(patient_id=str(place), sex="FM"[place % 2], age_years=30 + place)
        write_dicom(tmp_path / name, tiny.picture(place, bright=bright), subject=subject)
        entries.append({"image": name, "label": tiny.CLASSES[place % 2], "patient_id": str(place),
                        "sex": "M" if place == 0 else ""})  # fmt: skip
    tiny.write_table(tmp_path, entries)
    recipe = tiny.recipe(tmp_path, columns=USE)
    build_dataset(recipe, tmp_path / "data")
    with (tmp_path / "data" / MANIFEST).open(newline="") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    assert rows["0.dcm"]["column.sex"] == "M"  # the table is right where the two disagree
    assert rows["3.dcm"]["column.sex"] == "M" and rows["3.dcm"]["column.age"] == "33"


def test_images_without_labels_bring_their_columns(tmp_path: Path) -> None:
    recipe = table(tmp_path / "set")
    build_dataset(recipe, tmp_path / "run" / "data")
    data = load_dataset(tmp_path / "run" / "data", "binary", recipe.preprocess)
    tiny.write_picture(tmp_path / "more" / "b.png", tiny.picture(902))
    write_dicom(tmp_path / "more" / "a.dcm", tiny.picture(901), subject=PatientFacts(sex="F", age_years=44))
    more = open_unlabeled(recipe, tmp_path / "run", tmp_path / "more", data)
    by_name = dict(zip(more.names, more.columns, strict=True))  # type: ignore[arg-type]
    assert np.array_equal(by_name["a.dcm"], encode_rows(data.fitted, [{"age": "44", "sex": "F"}])[0])
    assert not by_name["b.png"].any()
    feed = Feed(data, recipe.task, recipe.preprocess, recipe.augment, batch_size=6, sampler=False, seed=0, extra=more)
    assert all(columns.shape == (len(images), 4) for images, _, columns in feed.batches(0, feed.steps_per_epoch))


# TensorRT


@pytest.mark.slow
@needs_rtx
def test_nvidias_builder_takes_both_inputs_for_turing_too() -> None:
    graph = to_fp16(add_columns(quantizing.residual(), model()))
    for capability in ("7.5", "8.6"):
        built = build_ahead(graph, "fp16", (capability,), quiet=True)
        assert built.report.weighted == {"HALF": 6}  # three convolutions, the classifier, and both layers of the head
