"""Who trains what: a study is so many tickets, each settled once, by however many processes on however many machines.

Optuna hands out trials and promises no number of them: its grid may try a point twice when several processes come to
its end, a limit of trials is passed by those that run just then, and only databases tell it that a process is gone. So
a trial carries the number of its ticket from birth. Two trials of one ticket may be born at the same moment; then the
first of them is trained and the other withdraws. A ticket whose trial was killed or stopped is issued again with its
values.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from edgedx.core.errors import UsageError

TICKET, PULSE, WHY, WITHDRAWN, STOPPED = "ticket", "pulse", "why", "withdrawn", "stopped"
"""User attributes of a trial: its ticket; a number that grows while its process lives; why it failed; it was one too
many; its process was stopped."""
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
GRACE = 120.0
"""Seconds without a sign of life after which a trial is taken again."""
ATTEMPTS = 3
"""Trials of one ticket whose process may vanish before the ticket is given up: what kills three kills a fourth."""


def ticket_of(trial: FrozenTrial) -> int | None:
    """The ticket of a trial; None where it has none, or withdrew."""
    return None if WITHDRAWN in trial.user_attrs else trial.user_attrs.get(TICKET)


def holds(trials: Iterable[FrozenTrial], number: int) -> bool:
    """Whether trial `number` is the first of those of its ticket that are not failed.

    Numbers are given in the order of birth and a ticket stands in its trial from birth, so all who ask agree.
    """
    alive = [one for one in trials if one.state != TrialState.FAIL and ticket_of(one) is not None]
    ticket_here = next((ticket_of(one) for one in alive if one.number == number), None)
    return ticket_here is not None and number == min(one.number for one in alive if ticket_of(one) == ticket_here)


def settled(trials: Iterable[FrozenTrial]) -> set[int | None]:
    """Tickets that nobody has to train any more: ended, failed by themselves, or killed too often."""
    numbers: set[int | None] = set()
    killed: dict[int, int] = {}
    for one in trials:
        ticket = ticket_of(one)
        if ticket is None:
            continue
        if one.state in ENDED or (one.state == TrialState.FAIL and WHY in one.user_attrs):
            numbers.add(ticket)
        elif one.state == TrialState.FAIL and STOPPED not in one.user_attrs:
            killed[ticket] = killed.get(ticket, 0) + 1
    return numbers | {ticket for ticket, times in killed.items() if times >= ATTEMPTS}


def missing(trials: Sequence[FrozenTrial], count: int) -> int | None:
    """The first ticket below `count` that is not settled and that nobody has or waits for."""
    taken = settled(trials) | {ticket_of(one) for one in trials if not one.state.is_finished()}
    return next((ticket for ticket in range(count) if ticket not in taken), None)


def values_again(trials: Sequence[FrozenTrial], ticket: int) -> Mapping[str, Any]:
    """The values of the last attempt at a ticket; empty where there was none."""
    return next((one.params for one in reversed(trials) if ticket_of(one) == ticket and one.params), {})


class Silence:
    """Trials whose process is gone: their pulse has not moved for `grace` seconds of our own clock.

    No clock is compared with another machine's, so a process has to look twice before it buries anything.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.seen: dict[int, tuple[int, float]] = {}

    def gone(self, trials: Iterable[FrozenTrial], now: float) -> list[int]:
        """Numbers of running trials to bury."""
        numbers = []
        for one in trials:
            if one.state != TrialState.RUNNING:
                continue
            pulse = int(one.user_attrs.get(PULSE, 0))
            known, since = self.seen.get(one.number, (-1, now))
            if pulse != known:
                self.seen[one.number] = (pulse, now)
            elif now - since >= self.grace:
                numbers.append(one.number)
        return numbers


class TrialHeartbeat:
    """While it is entered, says every `seconds` that the process of `trial` lives."""

    def __init__(self, trial: Trial, seconds: float) -> None:
        self.trial, self.seconds, self.over = trial, seconds, threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> TrialHeartbeat:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _beat(self) -> None:
        beats = 0
        while not self.over.wait(self.seconds):
            beats += 1
            try:
                self.trial.set_user_attr(PULSE, beats)
            except Exception:  # buried meanwhile, or a storage that rests: what counts is asked for by the trial itself
                continue


def work(
    study: optuna.Study,
    count: int,
    objective: Callable[[Trial], float],
    values: Callable[[int], Mapping[str, Any]],
    *,
    seconds: float | None = None,
    on_end: Callable[[FrozenTrial], object] = lambda _: None,
    beat: float = 20.0,
    grace: float = GRACE,
    blink: float = 2.0,
) -> None:
    """Train tickets until `count` are settled, by this process or by others; it waits for those.

    Parameters
    ----------
    objective : callable
        Trains a trial. An UsageError is the fault of the trial's values: it is kept, and the next ticket begun, unless
        no trial of the study has ended yet. Any other error ends the work; the ticket is open to the next start.
    values : callable
        Ticket to the values that it prescribes: a point of a grid, or nothing.
    seconds : float, optional
        No trial is begun, and none of others is waited for, after so long.
    beat, grace, blink : float
        Seconds between signs of life, without any until a trial is taken again, and between looks while waiting.
    """
    silence, begun = Silence(grace), time.monotonic()
    while seconds is None or time.monotonic() - begun < seconds:
        trials = study.get_trials(deepcopy=False)
        for number in silence.gone(trials, time.monotonic()):
            study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
            trials = study.get_trials(deepcopy=False)
        waiting = any(one.state == TrialState.WAITING for one in trials)
        ticket = None if waiting else missing(trials, count)
        if ticket is not None:
            study.enqueue_trial(dict(values_again(trials, ticket) or values(ticket)), user_attrs={TICKET: ticket})
        elif not waiting:
            if not any(one.state == TrialState.RUNNING and (ticket_of(one) or 0) < count for one in trials):
                return
            time.sleep(blink)
            continue
        trial = study.ask()
        if not holds(study.get_trials(deepcopy=False), trial.number):
            _fail(study, trial, WITHDRAWN, True)
            continue
        with TrialHeartbeat(trial, beat):
            _train(study, trial, objective)
        on_end(study.get_trials(deepcopy=False)[trial.number])


def _train(study: optuna.Study, trial: Trial, objective: Callable[[Trial], float]) -> None:
    try:
        study.tell(trial, objective(trial), skip_if_finished=True)  # finished: it was taken for dead, and taken again
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
    except UsageError as error:
        alone = not study.get_trials(deepcopy=False, states=ENDED)
        _fail(study, trial, *((STOPPED, True) if alone else (WHY, error.message)))
        if alone:
            raise
    except optuna.exceptions.UpdateFinishedTrialError:
        pass  # this process slept, was taken for dead, and the ticket has another trial by now
    except BaseException:
        _fail(study, trial, STOPPED, True)
        raise


def _fail(study: optuna.Study, trial: Trial, attribute: str, value: object) -> None:
    try:
        trial.set_user_attr(attribute, value)
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:  # taken for dead by another process
        pass
