"""May an update ship: not worse on old images, on new ones, at a site, between subgroups."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import Cases, Predictions, predictions_of
from edgedx.lab.update.combine import SITE
from edgedx.lab.update.fairness import fairness
from edgedx.lab.update.judge import NEW, OLD, UpdateVerdict, decide

COUNT = 1200
RNG = np.random.default_rng(5)
LABELS = np.arange(COUNT) % 2
IS_NEW = np.arange(COUNT) >= 600
SITES = np.array(["development"] * 600 + ["north"] * 300 + ["south"] * 280 + ["east"] * 20)
SEX = np.array(["F", "M"])[(np.arange(COUNT) // 2) % 2]
NOISE = RNG.normal(0, 1, COUNT)


def _recipe(**update: object) -> Recipe:
    return tiny.recipe(update={"max_gap_widening": 0.05, **update}, gate={"max_auc_drop": 0.03})


def _cases(sex: bool = True) -> Cases:
    groups = [{SITE: site, **({"sex": one} if sex else {})} for site, one in zip(SITES, SEX, strict=True)]
    names = [f"{row}" for row in range(COUNT)]
    return Cases(names, names, LABELS, groups, "binary", tiny.CLASSES, "bright")


def _answers(strength: np.ndarray | float, noise: np.ndarray = NOISE) -> Predictions:
    """Answers that tell the classes apart by `strength` standard deviations."""
    chance = 1 / (1 + np.exp(-(noise + strength * (LABELS - 0.5))))
    return predictions_of(_cases(), np.stack([1 - chance, chance], axis=1), {"bright": 0.5})


def _decide(before: Predictions, after: Predictions, **update: object) -> UpdateVerdict:
    return decide(_recipe(**update), _cases(sex=False), IS_NEW, before, after, against="version 1")


def test_gain_there_and_no_loss_here_ships() -> None:
    verdict = _decide(_answers(np.where(IS_NEW, 1.0, 3.0)), _answers(3.0))
    assert verdict.passed, verdict.sentence
    told = verdict.to_dict()
    assert told["gain"]["value"] > 0.15
    assert told["gain"]["low"] > 0.1
    assert abs(told["forgetting"]["value"]) < 1e-9
    assert "gains" in verdict.sentence


@pytest.mark.parametrize(("where", "name"), [(~IS_NEW, OLD), (IS_NEW, NEW)])
def test_a_loss_on_old_or_on_new_images_does_not(where: np.ndarray, name: str) -> None:
    verdict = _decide(_answers(3.0), _answers(np.where(where, 1.0, 3.0)))
    assert not verdict.passed
    assert verdict.parts[name].passed is False
    assert name in verdict.sentence
    assert "version 1" in verdict.sentence


def test_one_clinic_that_loses_is_enough() -> None:
    """South loses what north gains."""
    before = _answers(np.where(SITES == "north", 1.0, 3.0))
    verdict = _decide(before, _answers(np.where(SITES == "south", 1.0, 3.0)), max_gap_widening=1.0)
    assert not verdict.passed
    by_site = {one["site"]: one for one in verdict.sites}
    assert by_site["south"]["passed"] is False
    assert by_site["north"]["passed"] is True
    assert "site south" in verdict.sentence


def test_a_clinic_with_few_images_is_told_how_many_it_lacks() -> None:
    few = np.where(SITES == "east", np.arange(COUNT), 0)
    keep = np.flatnonzero((few == 0) | (np.arange(COUNT) < 1188))
    cases = _cases(sex=False)
    picked = Cases([cases.names[row] for row in keep], [cases.patients[row] for row in keep], LABELS[keep],
                   [cases.subgroups[row] for row in keep], "binary", tiny.CLASSES, "bright")  # fmt: skip
    whole = _answers(3.0)
    part = Predictions(whole.probabilities[keep], [whole.decisions[row] for row in keep], whole.scores[keep])
    verdict = decide(_recipe(), picked, IS_NEW[keep], part, part)
    east = next(one for one in verdict.sites if one["site"] == "east")
    assert east["auc"] is None
    assert east["why"] == "4 images of dark to judge on, 10 needed: about 18 more answers of it"


def test_a_widened_gap_between_subgroups_is_refused_even_where_all_gain() -> None:
    before, after = _answers(1.0), _answers(np.where(SEX == "F", 1.0, 4.0))
    cases = _cases()
    verdict = decide(_recipe(), cases, IS_NEW, before, after)
    assert verdict.parts[OLD].passed and verdict.parts[NEW].passed
    assert not verdict.passed
    assert "the largest gap in AUC between subgroups goes from" in verdict.sentence
    assert "sex F is worst" in verdict.sentence
    assert decide(_recipe(max_gap_widening=0.9), cases, IS_NEW, before, after).passed


def test_gaps_are_those_of_the_figures_themselves() -> None:
    before, after = _answers(2.0), _answers(np.where(SEX == "F", 1.0, 3.0))
    cases = _cases()
    only = [{"sex": group["sex"]} for group in cases.subgroups]
    found = fairness(Cases(**{**vars(cases), "subgroups": only}), before, after)
    from edgedx.core.stats.metrics import roc_auc

    for answers, role in ((before, "before"), (after, "after")):
        areas = [roc_auc(LABELS[one == SEX], answers.scores[one == SEX, 1]) for one in "FM"]
        (gap,) = [one for one in found.widenings if one.kind == "auc_roc"]
        assert getattr(gap, role) == pytest.approx(max(areas) - min(areas))
    assert gap.where == ("sex", "F")
    assert gap.growth.low <= gap.growth.value <= gap.growth.high


def test_without_old_images_nothing_is_proven_and_it_does_not_ship() -> None:
    keep = np.flatnonzero(IS_NEW)
    cases = _cases(sex=False)
    picked = Cases([cases.names[row] for row in keep], [cases.patients[row] for row in keep], LABELS[keep],
                   [cases.subgroups[row] for row in keep], "binary", tiny.CLASSES, "bright")  # fmt: skip
    whole = _answers(3.0)
    part = Predictions(whole.probabilities[keep], [whole.decisions[row] for row in keep], whole.scores[keep])
    verdict = decide(_recipe(), picked, np.ones(len(keep), bool), part, part)
    assert not verdict.passed
    assert "there is no image in the old images" in verdict.sentence
    assert verdict.to_dict()["forgetting"] is None
