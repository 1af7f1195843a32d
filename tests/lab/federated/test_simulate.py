"""A federation in one process: its result is an ordinary run, and one bad site does not spoil it."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import federation
import numpy as np
import pytest
import torch

pytest.importorskip("flwr", reason="the optional package flwr (pip install 'edgedx[federated]')")

from flwr.app import Array, ArrayRecord  # noqa: E402

from edgedx.core.errors import InputOutputError, RecipeError, UsageError  # noqa: E402
from edgedx.core.settings.recipe import Recipe  # noqa: E402
from edgedx.lab.data.dataset import Dataset  # noqa: E402
from edgedx.lab.federated.app import client_app  # noqa: E402
from edgedx.lab.federated.local_grid import LocalGrid  # noqa: E402
from edgedx.lab.federated.rounds import Federation, federate  # noqa: E402
from edgedx.lab.federated.simulate import Division, federate_here, simulate  # noqa: E402
from edgedx.lab.federated.site import Site  # noqa: E402
from edgedx.lab.federated.start import empty_model, first_model  # noqa: E402
from edgedx.lab.federated.weights import local_names, tensors_of  # noqa: E402
from edgedx.lab.network.checkpoint import load_checkpoint  # noqa: E402
from edgedx.lab.train.optimizer import schedule  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hospitals")
    federation.write_hospitals(root)
    return root


@pytest.fixture(scope="module")
def parts(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    return federation.parts_of(federation.recipe(folder), tmp_path_factory.mktemp("read"))


def _with_bad_site(
    recipe: Recipe, parts: dict[str, Dataset], state: Path, spoil: Any
) -> tuple[Federation, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A federation whose last site is spoiled; what it gave, and the weights before and after."""
    model, _ = first_model(recipe)
    before = {name: value.clone() for name, value in tensors_of(model).items()}
    names = dict(enumerate(parts, 1))
    apps: dict[int, Any] = {n: client_app(Site(name, recipe, parts[name])) for n, name in names.items()}
    apps[len(apps)] = federation.spoiled(apps[len(apps)], spoil)
    given = federate(recipe, model, LocalGrid(apps, names), names, state)
    return given, before, tensors_of(model)


def _distance(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    learned = [name for name in before if "running" not in name]
    return math.sqrt(sum(float(((after[name] - before[name]) ** 2).sum()) for name in learned))


def _fill(value: float) -> Any:
    def spoil(reply: Any) -> None:
        record = reply.content["arrays"]
        reply.content["arrays"] = ArrayRecord(
            {name: Array(np.full(array.shape, value, np.float32)) for name, array in record.items()}
        )

    return spoil


def test_the_result_is_an_ordinary_run_with_a_report_by_site(folder: Path, tmp_path: Path) -> None:
    recipe = federation.recipe(folder)
    record = simulate(recipe, tmp_path / "run", Division(by="hospital"))
    report = json.loads((tmp_path / "run/federated.json").read_text())
    assert report == record["metrics"]["federated"]
    assert list(report["sites"]) == ["h0", "h1", "h2"]
    assert all(0 <= figures["low"] <= figures["auc"] <= figures["high"] <= 1 for figures in report["sites"].values())
    assert [line["round"] for line in report["rounds"]] == [1, 2] and report["privacy"] is None
    card = load_checkpoint(tmp_path / "run/teacher").card
    assert card.role == "teacher" and "3 simulated sites" in card.weights_from and card.operating_points
    lines = list(csv.DictReader((tmp_path / "run/teacher/history.csv").open()))
    assert [line["phase"] for line in lines] == ["federated"] * 2
    assert 1e-3 > float(lines[0]["learning_rate"]) > 0.5e-3 > 0.01e-3 > float(lines[1]["learning_rate"])
    assert simulate(recipe, tmp_path / "run", Division(by="hospital"))["reused"]


def test_one_site_alone_is_ordinary_training(folder: Path, parts: dict[str, Dataset], tmp_path: Path) -> None:
    """With one site the average is that site's weights, bit by bit."""
    recipe = federation.recipe(folder, rounds=1, min_sites=1)
    _, _, model = federate_here(recipe, {"h0": parts["h0"]}, tmp_path / "state")
    start, _ = first_model(recipe)
    trained, _ = Site("h0", recipe, parts["h0"]).train(tensors_of(start), 1)
    assert all(torch.equal(value, trained[name]) for name, value in tensors_of(model).items())


def test_a_site_says_where_statistics_are_fixed_before_they_settled(
    folder: Path, parts: dict[str, Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = federation.recipe(folder, rounds=2)
    start, _ = first_model(recipe)
    Site("h0", recipe, parts["h0"]).train(tensors_of(start), 2)
    assert "may be too few for them to settle" in " ".join(capsys.readouterr().err.split())


def test_rounds_go_on_where_a_stopped_server_left_off(folder: Path, parts: dict[str, Dataset], tmp_path: Path) -> None:
    recipe = federation.recipe(folder)
    whole = federate_here(recipe, parts, tmp_path / "a")[2]
    names = dict(enumerate(parts, 1))
    apps: dict[int, Any] = {n: client_app(Site(name, recipe, parts[name])) for n, name in names.items()}
    with pytest.raises(KeyboardInterrupt):
        stopping = {**apps, 2: federation.stopping(apps[2], number=2)}
        federate(recipe, first_model(recipe)[0], LocalGrid(stopping, names), names, tmp_path / "b")
    resumed, _ = first_model(recipe)
    given = federate(recipe, resumed, LocalGrid(apps, names), names, tmp_path / "b", resume=True)
    assert [line["round"] for line in given.rounds] == [1, 2]
    assert all(torch.equal(value, tensors_of(resumed)[name]) for name, value in tensors_of(whole).items())


def test_a_site_warms_up_once_and_its_learning_rate_falls_over_all_rounds(
    folder: Path, parts: dict[str, Dataset]
) -> None:
    recipe = federation.recipe(folder, rounds=4)
    site, sent = Site("h0", recipe, parts["h0"]), tensors_of(first_model(recipe)[0])
    for number in (1, 2, 3, 4):
        site.train(sent, number)
    ends = [line["learning_rate"] / recipe.train.learning_rate for line in site.history]
    steps = len(parts["h0"].subset("train")) // recipe.train.batch_size
    expected = schedule(4 * steps, recipe.train.warmup_epochs * steps)[steps - 1 :: steps]
    assert ends == pytest.approx(expected, rel=1e-5) and ends[1] > ends[2] > ends[3]


def test_statistics_of_batch_norm_are_renewed_in_the_first_half_and_fixed_in_the_last(
    folder: Path, parts: dict[str, Dataset]
) -> None:
    recipe = federation.recipe(folder, rounds=2)
    site = Site("h0", recipe, parts["h0"])
    sent = {name: value.clone() for name, value in tensors_of(first_model(recipe)[0]).items()}
    statistics = {name for name in sent if "running_" in name}
    for number, moved in ((1, True), (2, False)):
        got, _ = site.train(sent, number)
        assert all(torch.equal(got[name], sent[name]) != moved for name in statistics)
        assert not any(torch.equal(got[name], sent[name]) for name in set(sent) - statistics)


def test_fedprox_stays_nearer_to_what_was_sent(folder: Path, parts: dict[str, Dataset]) -> None:
    moved = []
    for settings in ({"epochs": 8}, {"epochs": 8, "method": "fedprox", "proximal_weight": 100.0}):
        recipe = federation.recipe(folder, **settings)
        start = {name: value.clone() for name, value in tensors_of(first_model(recipe)[0]).items()}
        moved.append(_distance(start, Site("h0", recipe, parts["h0"]).train(start, 1)[0]))
    assert moved[1] < 0.7 * moved[0]


def test_fedbn_never_sends_its_layers_in_a_round_and_gives_both_figures(
    folder: Path, parts: dict[str, Dataset], tmp_path: Path
) -> None:
    recipe = federation.recipe(folder, method="fedbn")
    local = local_names(empty_model(recipe), recipe.federated)
    sent = Site("h0", recipe, parts["h0"]).train(tensors_of(first_model(recipe)[0]), 1)[0]
    assert local and not local & set(sent)
    given, _, model = federate_here(recipe, parts, tmp_path / "state")
    assert all(figures["own_auc"] is not None for figures in given.sites.values())
    start = tensors_of(first_model(recipe)[0])
    completed = tensors_of(model)
    assert any(not torch.equal(completed[name], start[name]) for name in local), "the mean of the sites' layers"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_update_that_is_not_finite_is_left_out_and_named(
    value: float, folder: Path, parts: dict[str, Dataset], tmp_path: Path
) -> None:
    given, _, after = _with_bad_site(federation.recipe(folder), parts, tmp_path / "state", _fill(value))
    assert all("not a finite number" in line["sites"]["h2"]["problem"] for line in given.rounds)
    assert all(line["combined"] for line in given.rounds)
    assert all(torch.isfinite(tensor).all() for tensor in after.values())


@pytest.mark.parametrize("aggregate", ["median", "trimmed", "krum"])
def test_a_robust_aggregate_holds_against_a_poisoned_site(
    aggregate: str, folder: Path, parts: dict[str, Dataset], tmp_path: Path
) -> None:
    """Five sites, of which one sends 1000 everywhere; the mean would be pulled 200 away."""
    five = {**parts, "h3": parts["h0"], "h4": parts["h1"]}
    recipe = federation.recipe(folder, aggregate=aggregate, rounds=1)
    _, before, after = _with_bad_site(recipe, five, tmp_path / "state", _fill(1000.0))
    honest = _distance(
        before, federate_here(federation.recipe(folder, rounds=1), parts, tmp_path / "clean")[2].state_dict()
    )
    assert _distance(before, after) < 3 * honest


def test_the_plain_mean_does_not_hold_and_clipping_bounds_the_harm(
    folder: Path, parts: dict[str, Dataset], tmp_path: Path
) -> None:
    _, before, after = _with_bad_site(federation.recipe(folder, rounds=1), parts, tmp_path / "a", _fill(1000.0))
    assert _distance(before, after) > 1000
    clipped = federation.recipe(folder, rounds=1, clip_norm=0.5)
    given, before, after = _with_bad_site(clipped, parts, tmp_path / "b", _fill(1000.0))
    assert _distance(before, after) <= 0.5 + 1e-3
    assert given.rounds[0]["sites"]["h2"]["clipped"]


def test_figures_beside_an_update_are_not_believed(folder: Path, parts: dict[str, Dataset], tmp_path: Path) -> None:
    """A site that claims a billion images would be the mean."""

    def spoil(reply: Any) -> None:
        reply.content["metrics"]["images"] = 10**9

    given, _, _ = _with_bad_site(federation.recipe(folder, rounds=1), parts, tmp_path / "state", spoil)
    assert given.rounds[0]["sites"]["h2"]["problem"] == "figures that make no sense"


def test_too_few_usable_updates_change_nothing_and_say_so(
    folder: Path, parts: dict[str, Dataset], tmp_path: Path
) -> None:
    recipe = federation.recipe(folder, min_sites=3)
    with pytest.raises(InputOutputError, match="in none of 2 rounds"):
        _with_bad_site(recipe, parts, tmp_path / "state", _fill(math.nan))


def test_epsilon_is_that_of_the_gaussian_mechanism(folder: Path, parts: dict[str, Dataset], tmp_path: Path) -> None:
    """Two releases at noise 2: Rényi epsilon of order a is 2a/8 (Mironov 2017); converted at the best order."""
    pytest.importorskip("dp_accounting")
    recipe = federation.recipe(folder, clip_norm=1.0, noise_multiplier=2.0, delta=1e-3)
    given, _, model = federate_here(recipe, parts, tmp_path / "state")
    assert given.privacy is not None and given.privacy["releases"] == 2
    orders = np.linspace(1.01, 60, 20_000)
    # Canonne, Kamath and Steinke 2020, proposition 12.
    converted = 2 * orders / 8 + np.log1p(-1 / orders) - np.log(1e-3 * orders) / (orders - 1)
    assert given.privacy["epsilon"] == pytest.approx(converted.min(), rel=0.02)
    start = tensors_of(first_model(recipe)[0])
    local = local_names(model, recipe.federated)
    assert all(torch.equal(tensors_of(model)[name], start[name]) for name in local), "statistics never leave with noise"


def test_a_site_whose_recipe_differs_answers_nothing(folder: Path, parts: dict[str, Dataset], tmp_path: Path) -> None:
    recipe = federation.recipe(folder, rounds=1)
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"learning_rate": 0.5})})
    model, _ = first_model(recipe)
    names = dict(enumerate(parts, 1))
    apps = {n: client_app(Site(name, other if n == 3 else recipe, parts[name])) for n, name in names.items()}
    given = federate(recipe, model, LocalGrid(apps, names), names, tmp_path / "state")
    assert given.rounds[0]["sites"]["h2"]["problem"] == "its recipe is not the server's"
    assert given.sites["h2"] == {"problem": "its recipe is not the server's"}


def test_patients_stay_whole_and_every_site_has_some_of_each_split(parts: dict[str, Dataset]) -> None:
    from dataclasses import replace

    data = replace(parts["h0"], patients=[f"p{row // 2}" for row in range(len(parts["h0"]))])
    divided = Division(sites=2).of(data, 0)
    homes = [set(part.patients) for part in divided.values()]
    assert not homes[0] & homes[1] and sum(map(len, divided.values())) == len(data)
    assert all(len(part.subset(split)) for part in divided.values() for split in ("train", "val", "test"))


def test_a_division_that_cannot_be_names_what_can(parts: dict[str, Dataset]) -> None:
    with pytest.raises(UsageError, match="either --sites N or --by"):
        Division().of(parts["h0"], 0)
    with pytest.raises(UsageError) as caught:
        Division(by="scanner").of(parts["h0"], 0)
    assert caught.value.next_step == "one of hospital"


def test_columns_beside_the_image_are_refused(folder: Path) -> None:
    recipe = federation.recipe(folder)
    from edgedx.core.settings.columns import Column, Columns

    with_age = recipe.model_copy(update={"columns": Columns(use=[Column(name="age", kind="number")])})
    with pytest.raises(RecipeError, match="reads images alone"):
        empty_model(with_age)
