"""`edgedx compare`: figures of several models on the same images, and a test for each pair of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from edgedx.core.errors import UsageError
from edgedx.core.progress import Bar, progress, track
from edgedx.core.stats.cases import Predictions
from edgedx.core.stats.resample import RESAMPLES, Draws, draw
from edgedx.core.stats.weighted import Floats, Ranked, Statistic, mean_of

from .figures import accuracy_of, auc_parts, fold_accuracies, fold_aucs, right_matrix
from .folds import fold_tests
from .lineup import Lineup
from .pairs import ModelComparison, Pair, PairTest
from .significance import delong, holm, mcnemar


def compare(
    lineup: Lineup, *, baseline: str | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> ModelComparison:
    """Test every pair, or every subject against `baseline`.

    Raises
    ------
    UsageError
        No subject is called so.
    """
    names = list(lineup.answers)
    if baseline is not None and baseline not in names:
        named = [name for name, path in lineup.paths.items() if Path(path) == Path(baseline)]
        if not named:
            raise UsageError(f"--baseline {baseline}: no such subject", next_step=f"one of {', '.join(names)}")
        baseline = named[0]
    pairs = [(baseline, name) for name in names if name != baseline] if baseline else list(combinations(names, 2))
    statistics: dict[tuple[str, str], Statistic] = {}
    for name, answers in lineup.answers.items():
        statistics["auc", name] = mean_of([Ranked(*part).auc for part in auc_parts(lineup, answers)])
        statistics["accuracy", name] = accuracy_of(lineup, answers)
    with progress("resampling", len(statistics) * resamples) as bar:
        watched = {name: _watched(of, bar) for name, of in statistics.items()}
        draws = draw(watched, lineup.cases.patients, resamples=resamples, seed=seed)
    made = [_pair(lineup, draws, one, two) for one, two in track(pairs, "testing pairs", len(pairs))]
    return ModelComparison(
        lineup=lineup,
        auc={name: draws["auc", name].interval() for name in names},
        accuracy={name: draws["accuracy", name].interval() for name in names},
        pairs=_corrected(made),
        resamples=resamples,
    )


def _watched(of: Statistic, bar: Bar) -> Statistic:
    def counted(weights: Floats) -> Floats:
        bar.advance(len(weights))
        return of(weights)

    return counted


def _pair(lineup: Lineup, draws: Mapping[tuple[str, str], Draws], first: str, second: str) -> Pair:
    one, two = lineup.answers[first], lineup.answers[second]
    tests = [] if lineup.folds is not None else _ranking(lineup, one, two)
    tests += _decisions(lineup, one, two)
    if lineup.folds is not None:
        tests += _over_folds(lineup, one, two)
    return Pair(
        first=first,
        second=second,
        auc=draws["auc", second].minus(draws["auc", first]).interval(),
        accuracy=draws["accuracy", second].minus(draws["accuracy", first]).interval(),
        tests=tuple(tests),
    )


def _ranking(lineup: Lineup, one: Predictions, two: Predictions) -> list[PairTest]:
    cases, tests = lineup.cases, []
    findings = cases.findings()
    for index, known, present in findings:
        groups = [patient for patient, included in zip(cases.patients, known, strict=True) if included]
        test = delong(present[known], [one.scores[known, index], two.scores[known, index]], groups).test(0, 1)
        tests.append(PairTest("ranking", cases.classes[index] if len(findings) > 1 else "", test, test.p))
    return tests


def _decisions(lineup: Lineup, one: Predictions, two: Predictions) -> list[PairTest]:
    known, right = right_matrix(lineup, one)
    _, other = right_matrix(lineup, two)
    tests = []
    for column in range(known.shape[1]):
        rows = known[:, column]
        groups = [patient for patient, included in zip(lineup.cases.patients, rows, strict=True) if included]
        test = mcnemar(right[rows, column], other[rows, column], groups)
        tests.append(PairTest("decisions", lineup.cases.classes[column] if known.shape[1] > 1 else "", test, test.p))
    return tests


def _over_folds(lineup: Lineup, one: Predictions, two: Predictions) -> list[PairTest]:
    assert lineup.folds is not None
    sizes = [int((lineup.folds == fold).sum()) for fold in sorted(set(lineup.folds.tolist()))]
    # What was not tested trained the model, or chose its epoch and its thresholds (val).
    share_tested = float(np.mean([size / (len(lineup.cases) - size) for size in sizes])) if len(sizes) > 1 else 1.0
    tests = []
    for of, by_fold in (("ranking", fold_aucs), ("decisions", fold_accuracies)):
        figures = np.array([by_fold(lineup, one), by_fold(lineup, two)])
        usable = ~np.isnan(figures).any(axis=0)
        if usable.sum() > 1:
            test = fold_tests(figures[0, usable].tolist(), figures[1, usable].tolist(), share_tested)
            tests.append(PairTest(of, "", test, test.corrected_p))
    return tests


def _corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Holm over all pairs and findings of one test: what was asked several times is answered more carefully."""
    families: dict[tuple[str, type], list[tuple[int, int, float]]] = {}
    for pair_index, pair in enumerate(pairs):
        for number, one in enumerate(pair.tests):
            families.setdefault((one.of, type(one.found)), []).append((pair_index, number, one.p))
    tests = [list(pair.tests) for pair in pairs]
    for family in families.values():
        for (pair_index, number, _), p in zip(family, holm([p for _, _, p in family]), strict=True):
            tests[pair_index][number] = replace(tests[pair_index][number], p_holm=p)
    return tuple(replace(pair, tests=tuple(included)) for pair, included in zip(pairs, tests, strict=True))
