"""Tickets: so many trials and no more, none lost and none twice, whoever trains them and whoever dies."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")
from optuna.trial import Trial, TrialState  # noqa: E402

from edgedx.core.errors import MissingError, UsageError  # noqa: E402
from edgedx.core.settings.recipe_tune import Tune  # noqa: E402
from edgedx.lab.tune.study import open_study, suggest  # noqa: E402
from edgedx.lab.tune.tickets import ENDED, TICKET, WHY, Silence, ticket_of, work  # noqa: E402

SPACE = Tune.model_validate({"space": {"train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}, "startup": 4})
KEY = "train.learning_rate"


def _study(folder: Path, name: str = "study") -> Any:
    return open_study(f"sqlite:///{folder / 'study.sqlite'}", name, SPACE, 0, {})


def _objective(trial: Trial) -> float:
    return 1 - abs(float(suggest(trial, KEY, SPACE.space[KEY])) - 1e-3)


def _nothing(ticket: int) -> dict[str, Any]:
    return {}


def _ended(study: Any) -> dict[int, float]:
    trials = study.get_trials(states=ENDED)
    assert max(Counter(map(ticket_of, trials)).values()) == 1, "a ticket was trained twice"
    return {one.user_attrs[TICKET]: one.params[KEY] for one in trials}


def test_a_study_that_was_stopped_draws_what_one_that_was_not_draws(tmp_path: Path) -> None:
    whole, parts = _study(tmp_path, "whole"), _study(tmp_path, "parts")
    work(whole, 6, _objective, _nothing)
    for count in (2, 4, 6):
        work(_study(tmp_path, "parts"), count, _objective, _nothing)
    assert list(_ended(whole)) == list(range(6))
    assert _ended(whole) == _ended(parts)
    assert len(set(_ended(whole).values())) == 6, "start points are different"


def test_workers_side_by_side_make_so_many_trials_and_each_once(tmp_path: Path) -> None:
    _study(tmp_path)
    begun = threading.Barrier(3)

    def one() -> None:
        study = _study(tmp_path)
        begun.wait()
        work(study, 7, _objective, _nothing, blink=0.01)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(_ended(_study(tmp_path))) == list(range(7))


def test_two_trials_of_one_ticket_are_trained_once(tmp_path: Path) -> None:
    """Two processes issued ticket 0 at the same moment."""
    study = _study(tmp_path)
    for _ in range(2):
        study.enqueue_trial({}, user_attrs={TICKET: 0})
    work(study, 2, _objective, _nothing)
    assert sorted(_ended(study)) == [0, 1]


def test_a_trial_whose_process_vanished_is_taken_again_with_its_values(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.enqueue_trial({}, user_attrs={TICKET: 0})
    lost = study.ask()
    value = suggest(lost, KEY, SPACE.space[KEY])
    work(study, 3, _objective, _nothing, grace=0.0, blink=0.01)
    assert _ended(study)[0] == value
    assert sorted(_ended(study)) == [0, 1, 2]
    assert study.trials[lost.number].state == TrialState.FAIL


def test_what_kills_three_times_is_given_up(tmp_path: Path) -> None:
    study = _study(tmp_path)
    for _ in range(3):
        study.enqueue_trial({}, user_attrs={TICKET: 0})
        study.tell(study.ask(), state=TrialState.FAIL)
    work(study, 2, _objective, _nothing)
    assert sorted(_ended(study)) == [1]


def test_a_trial_is_gone_when_its_pulse_rests_and_not_before(tmp_path: Path) -> None:
    study, silence = _study(tmp_path), Silence(grace=10)
    study.enqueue_trial({}, user_attrs={TICKET: 0})
    trial = study.ask()
    assert silence.gone(study.trials, 0) == silence.gone(study.trials, 9) == []
    trial.set_user_attr("pulse", 1)
    assert silence.gone(study.trials, 12) == silence.gone(study.trials, 21) == []
    assert silence.gone(study.trials, 22) == [trial.number]


def test_a_process_that_slept_through_its_own_burial_changes_nothing(tmp_path: Path) -> None:
    study = _study(tmp_path)

    def buried(trial: Trial) -> float:
        if trial.number == 0:
            _study(tmp_path).tell(trial.number, state=TrialState.FAIL)
            trial.report(0.5, 1)  # the storage refuses
        return _objective(trial)

    work(study, 2, buried, _nothing)
    assert sorted(_ended(study)) == [0, 1]


def test_an_interrupted_trial_is_open_to_the_next_start(tmp_path: Path) -> None:
    study = _study(tmp_path)

    def interrupted(trial: Trial) -> float:
        value = _objective(trial)
        if trial.user_attrs[TICKET] == 1:
            raise KeyboardInterrupt
        return value

    for _ in range(4):  # more often than a killed one would be tried
        with pytest.raises(KeyboardInterrupt):
            work(study, 3, interrupted, _nothing)
    drawn = study.trials[-1].params[KEY]
    work(study, 3, _objective, _nothing)
    assert sorted(_ended(study)) == [0, 1, 2]
    assert _ended(study)[1] == drawn


def test_values_that_cannot_be_trained_are_told_and_passed_over(tmp_path: Path) -> None:
    study = _study(tmp_path)

    def fails(trial: Trial) -> float:
        if trial.user_attrs[TICKET] == 1:
            raise UsageError("out of memory")
        return _objective(trial)

    work(study, 3, fails, _nothing)
    assert sorted(_ended(study)) == [0, 2]
    assert [one.user_attrs.get(WHY) for one in study.trials] == [None, "out of memory", None]


def test_what_no_values_can_mend_ends_the_work_and_costs_no_ticket(tmp_path: Path) -> None:
    study = _study(tmp_path)
    for error in (UsageError("wrong from the first trial on"), MissingError("no weights")):

        def fails(_: Trial, error: Exception = error) -> float:
            raise error

        with pytest.raises(type(error)):
            work(study, 2, fails, _nothing)
    work(study, 2, _objective, _nothing)
    assert sorted(_ended(study)) == [0, 1]


def test_a_journal_file_serves_as_well(tmp_path: Path) -> None:
    for count in (1, 3):
        study = open_study(f"journal:{tmp_path / 'study.journal'}", "study", SPACE, 0, {})
        work(study, count, _objective, _nothing)
    assert sorted(_ended(study)) == [0, 1, 2]
