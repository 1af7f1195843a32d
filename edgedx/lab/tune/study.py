"""The study behind `edgedx tune`: where it is stored, what it may be joined with, how trials are drawn. By Optuna."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial
from sqlalchemy.exc import SQLAlchemyError

from edgedx.core.errors import DependencyMissing, InputOutputError, UsageError
from edgedx.core.files import sha256_bytes
from edgedx.core.settings.recipe_tune import Parameter, Tune, Value

from .tickets import TICKET

JOURNAL = "journal:"
_PAUSES = (0.3, 1.0, 2.0)


def open_study(url: str, name: str, tune: Tune, seed: int, about: dict[str, str]) -> optuna.Study:
    """Begin a study, or join it.

    Parameters
    ----------
    url : str
        Of any Optuna storage, or ``journal:PATH`` for a file on a share that several machines see.
    about : dict
        What all who join must agree on, e.g. digests of recipe and data.

    Raises
    ------
    UsageError
        The study there is of another recipe or other data.
    InputOutputError
        The storage cannot be opened. No message holds the URL: there may be a password in it.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    with translated(url):
        study = optuna.create_study(
            storage=_storage(url),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=ByTicket(seed, tune.startup),
            pruner=_pruner(tune),
        )
        known = study.user_attrs
        for what, value in about.items():
            if known.get(what, value) != value:
                raise UsageError(
                    f"study {name!r} is of another {what}",
                    next_step="give the same recipe, overrides and data as when it was begun, or name another --study",
                )
            study.set_user_attr(what, value)
    return study


def suggest(trial: Trial, key: str, parameter: Parameter) -> Value:
    """Draw a value."""
    if parameter.choices:
        return trial.suggest_categorical(key, parameter.choices)  # type: ignore[no-any-return]
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.whole:
        return trial.suggest_int(key, int(low or 0), int(high or 0), step=int(step or 1), log=parameter.log)
    return trial.suggest_float(key, float(low or 0), float(high or 0), step=step, log=parameter.log)


def place_of(url: str) -> str:
    """What kind of storage it is; the rest may hold a password."""
    match = re.match(r"(journal):|(\w+)(\+\w+)?://", url, re.ASCII)
    return (match[1] or match[2]) if match else "given"


def _storage(url: str) -> optuna.storages.BaseStorage:
    try:
        if url.startswith(JOURNAL):
            from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

            path = url.removeprefix(JOURNAL)
            # Its usual lock is a link, which some shares do not have.
            return optuna.storages.JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
        return _database(url)
    except ImportError as error:
        package = getattr(error.__cause__, "name", None) or error.name
        raise DependencyMissing(
            f"the {place_of(url)} storage needs the Python package {package}",
            next_step="install it, or name another in the address, as postgresql+psycopg:// does",
        ) from None
    except OSError as error:
        raise _unusable(url, error) from None


def _database(url: str) -> optuna.storages.RDBStorage:
    patience = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    for pause in _PAUSES:
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=patience)
        except SQLAlchemyError:  # two processes that begin at once both make the tables, and one of them is refused
            time.sleep(pause)
    return optuna.storages.RDBStorage(url, engine_kwargs=patience)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """What a storage raises, as our InputOutputError, without its address."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise _unusable(url, error) from None


def _unusable(url: str, error: Exception) -> InputOutputError:
    return InputOutputError(
        f"the {place_of(url)} storage of the study cannot be used ({type(error).__name__})",
        next_step="look at its address, at the network and at who may write there",
    )


class ByTicket(optuna.samplers.BaseSampler):
    """TPE (Bergstra et al. 2011), multivariate, whose draws derive from (seed, ticket, key).

    With a generator for each process, two machines would begin with the same points, and so would a study that goes on.
    """

    def __init__(self, seed: int, startup: int) -> None:
        self.seed, self.startup = seed, startup

    def _tpe(self, trial: FrozenTrial, key: str = "") -> optuna.samplers.TPESampler:
        drawn = sha256_bytes(f"{self.seed} {trial.user_attrs.get(TICKET, trial.number)} {key}".encode())
        return optuna.samplers.TPESampler(n_startup_trials=self.startup, multivariate=True, seed=int(drawn[:8], 16))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return self._tpe(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        return self._tpe(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self._tpe(trial, param_name).sample_independent(study, trial, param_name, param_distribution)


def _pruner(tune: Tune) -> Any:
    if tune.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=tune.startup)
    return optuna.pruners.HyperbandPruner() if tune.pruner == "hyperband" else optuna.pruners.NopPruner()


def grid_of(tune: Tune) -> dict[str, list[Value]]:
    """All values of each key.

    Raises
    ------
    UsageError
        A range has no end of values.
    """
    grid = {key: parameter.grid() for key, parameter in tune.space.items()}
    if endless := [key for key, values in grid.items() if values is None]:
        raise UsageError(
            f"a grid cannot try all values of {endless[0]}", next_step=f"give tune.space.{endless[0]} a step or choices"
        )
    return {key: values for key, values in grid.items() if values is not None}
