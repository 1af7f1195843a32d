"""Other ways to see drift, for `drift.py`: KS without a noise floor, MMD on features, and Evidently as it comes."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from drift_clinic import Clinic, Drawn
from scipy.stats import ks_2samp

_EVIDENTLY = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report, DataDefinition, Dataset
from evidently.presets import DataDriftPreset
task = json.load(open(sys.argv[1]))
answers = []
for clinic in task:
    reference = pd.DataFrame(clinic["reference"])
    definition = DataDefinition(numerical_columns=list(reference.columns))
    base = Dataset.from_pandas(reference, data_definition=definition)
    for window in clinic["windows"]:
        now = Dataset.from_pandas(pd.DataFrame(window), data_definition=definition)
        found = Report([DataDriftPreset()]).run(current_data=now, reference_data=base).dict()
        counted = next(one for one in found["metrics"] if "DriftedColumns" in one["metric_name"])["value"]
        answers.append([float(counted["count"]), float(counted["share"])])
json.dump(answers, open(sys.argv[2], "w"))
"""
PERMUTATIONS = 1000
_DIRECTIONS = 32


def columns_of(clinic: Clinic, drawn: Drawn) -> dict[str, np.ndarray]:
    """What all methods are given of a window: the numbers of every image."""
    return {name: drawn.columns["numbers"][name] for name in sorted(clinic.reference.numbers)}


def plain_ks(reference: dict[str, np.ndarray], window: dict[str, np.ndarray]) -> bool:
    """Any stream with p < 0.05, as many tools do."""
    return any(ks_2samp(reference[name], window[name]).pvalue < 0.05 for name in reference)


class Mmd:
    """Maximum mean discrepancy (Gretton 2012) of features, Gaussian kernel with the median distance.

    Features are projected on the reference's first `_DIRECTIONS` principal directions. The threshold is the quantile of
    permutations of reference and one stable window that gives `rate` of alarms.
    """

    def __init__(self, reference: np.ndarray, stable: np.ndarray, rate: float, seed: int) -> None:
        self._mean = reference.mean(axis=0)
        _, _, directions = np.linalg.svd(reference - self._mean, full_matrices=False)
        self._basis = directions[:_DIRECTIONS].T
        self._reference = self._project(reference)
        own = self._project(stable)
        both = np.concatenate([self._reference, own])
        apart = _squares(both, both)
        self._width = float(np.median(apart[apart > 0]))
        kernel, rng = np.exp(-apart / self._width), np.random.default_rng(seed)
        drawn = []
        for _ in range(PERMUTATIONS):
            sign = np.full(len(both), 1 / len(self._reference))
            sign[rng.permutation(len(both))[: len(own)]] = -1 / len(own)
            drawn.append(float(sign @ kernel @ sign))
        self.limit = float(np.quantile(drawn, 1 - rate))

    def _project(self, features: np.ndarray) -> np.ndarray:
        return (features - self._mean) @ self._basis

    def alarm(self, features: np.ndarray) -> bool:
        """Whether a window is beyond the threshold."""
        both = np.concatenate([self._reference, self._project(features)])
        sign = np.full(len(both), 1 / len(self._reference))
        sign[len(self._reference) :] = -1 / len(features)
        return float(sign @ np.exp(-_squares(both, both) / self._width) @ sign) > self.limit


def evidently(python: Path, clinics: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Evidently's DataDriftPreset with its defaults, in an environment of its own.

    Parameters
    ----------
    python : Path
        Interpreter of an environment with ``evidently``.
    clinics : list of dict
        ``reference`` and ``windows``, columns of numbers.
    """
    plain = [
        {"reference": _lists(one["reference"]), "windows": [_lists(window) for window in one["windows"]]}
        for one in clinics
    ]
    with tempfile.TemporaryDirectory() as folder:
        task, answers, script = (Path(folder, name) for name in ("task.json", "answers.json", "run.py"))
        task.write_text(json.dumps(plain))
        script.write_text(_EVIDENTLY)
        subprocess.run([python, script, task, answers], check=True, env={"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"})
        return [{"columns": count, "share": share} for count, share in json.loads(answers.read_text())]


def _lists(columns: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: [float(value) for value in values] for name, values in columns.items()}


def _squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.maximum((one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T, 0)
