"""`edgedx compare`: figures of several models on the same images, and a test for each pair of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..core.compare import Answers
from ..core.errors import UsageError
from ..core.files import write_json, write_text
from ..core.metrics import Interval
from ..core.progress import Bar, progress, track
from ..core.resample import RESAMPLES, Draws, Floats, Statistic, area, draw, mean_of
from ..core.significance import AreaTest, DecisionTest, delong, holm, mcnemar
from .compare_answers import Lineup
from .compare_figures import accuracy_of, auc_parts, fold_accuracies, fold_aucs, right_matrix
from .compare_folds import FoldTests, fold_tests

REPORT, WORDS, PICTURE = "comparison.json", "comparison.md", "comparison.png"


@dataclass(frozen=True)
class Tested:
    """One test of one pair.

    Attributes
    ----------
    of : str
        ``ranking`` (AUC) or ``decisions`` (accuracy).
    finding : str
        Class or finding that it is about; empty where there is one alone, or all together.
    p, p_holm : float
        As it is, and corrected for all pairs and findings that the same test was made for.
    """

    of: str
    finding: str
    found: AreaTest | DecisionTest | FoldTests
    p: float
    p_holm: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        told = {"of": self.of, "finding": self.finding or None, **self.found.to_dict()}
        if isinstance(self.found, FoldTests):
            told["test"] = "corrected resampled t, over folds"
        return told | {"p": _known(self.p), "p_holm": _known(self.p_holm)}


@dataclass(frozen=True)
class Pair:
    """Two subjects.

    Attributes
    ----------
    auc, accuracy : Interval
        Second less first, by paired bootstrap over patients.
    """

    first: str
    second: str
    auc: Interval
    accuracy: Interval
    tests: tuple[Tested, ...]

    def best(self, of: str) -> tuple[Tested, ...]:
        """The tests to decide by: over folds where there are some, else on the images."""
        own = [one for one in self.tests if one.of == of]
        return tuple([one for one in own if isinstance(one.found, FoldTests)] or own)

    def gap(self, of: str) -> Interval:
        """The difference with its interval: of the test over folds where there is one, else by bootstrap."""
        over_folds = [one.found.mean for one in self.best(of) if isinstance(one.found, FoldTests)]
        return over_folds[0] if over_folds else self.auc if of == "ranking" else self.accuracy

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "auc_difference": self.auc.to_dict(),
            "accuracy_difference": self.accuracy.to_dict(),
            "tests": [one.to_dict() for one in self.tests],
        }


@dataclass(frozen=True)
class Compared:
    """All that was found.

    Attributes
    ----------
    auc, accuracy : dict of name to Interval
        Of each subject; over folds the mean of the folds' AUCs.
    """

    lineup: Lineup
    auc: dict[str, Interval]
    accuracy: dict[str, Interval]
    pairs: tuple[Pair, ...]
    resamples: int

    @property
    def patients(self) -> int:
        """How many the images are of."""
        return len(set(self.lineup.cases.patients))

    @property
    def folds(self) -> int:
        """How many; 0 where nothing was cross-validated."""
        return 0 if self.lineup.folds is None else len(set(self.lineup.folds.tolist()))

    @property
    def notes(self) -> list[str]:
        """What a reader must know before he believes a p-value."""
        told = list(self.lineup.warnings)
        if 0 < sum(patient.startswith("\x00") for patient in self.lineup.cases.patients) == self.patients:
            told.append("no patients are named: tests and intervals take images for independent")
        if 0 < self.folds < 6:
            told.append(
                f"with {self.folds} folds the Wilcoxon test cannot give a p below {2.0 ** (1 - self.folds):g}, "
                "whatever the models do"
            )
        return told

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        from .compare_words import sentences

        cases = self.lineup.cases
        return {
            "schema_version": 1,
            "sentences": sentences(self),
            "data": self.lineup.where,
            "synthetic": self.lineup.synthetic,
            "task": cases.task,
            "classes": list(cases.classes),
            "images": len(cases),
            "patients": self.patients,
            "resampled": "patients" if self.patients < len(cases) else "images",
            "resamples": self.resamples,
            "folds": self.folds or None,
            "subjects": {
                name: {
                    "path": self.lineup.paths[name],
                    "ran": self.lineup.ran[name],
                    "auc": self.auc[name].to_dict(),
                    "accuracy": self.accuracy[name].to_dict(),
                }
                for name in self.lineup.answers
            },
            "pairs": [pair.to_dict() for pair in self.pairs],
            "notes": self.notes,
        }


def compare(lineup: Lineup, *, baseline: str | None = None, resamples: int = RESAMPLES, seed: int = 0) -> Compared:
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
    statistics = {}
    for name, answers in lineup.answers.items():
        statistics[f"auc\x00{name}"] = mean_of([area(*part) for part in auc_parts(lineup, answers)])
        statistics[f"accuracy\x00{name}"] = accuracy_of(lineup, answers)
    with progress("resampling", len(statistics) * resamples) as bar:
        watched = {name: _watched(of, bar) for name, of in statistics.items()}
        draws = draw(watched, lineup.cases.patients, resamples=resamples, seed=seed)
    made = [_pair(lineup, draws, one, two) for one, two in track(pairs, "testing pairs", len(pairs))]
    return Compared(
        lineup=lineup,
        auc={name: draws[f"auc\x00{name}"].interval() for name in names},
        accuracy={name: draws[f"accuracy\x00{name}"].interval() for name in names},
        pairs=_corrected(made),
        resamples=resamples,
    )


def _watched(of: Statistic, bar: Bar) -> Statistic:
    def told(weights: Floats) -> Floats:
        bar.advance(len(weights))
        return of(weights)

    return told


def _pair(lineup: Lineup, draws: dict[str, Draws], first: str, second: str) -> Pair:
    one, two = lineup.answers[first], lineup.answers[second]
    tests = [] if lineup.folds is not None else _ranking(lineup, one, two)
    tests += _decisions(lineup, one, two)
    if lineup.folds is not None:
        tests += _over_folds(lineup, one, two)
    return Pair(
        first=first,
        second=second,
        auc=draws[f"auc\x00{second}"].minus(draws[f"auc\x00{first}"]).interval(),
        accuracy=draws[f"accuracy\x00{second}"].minus(draws[f"accuracy\x00{first}"]).interval(),
        tests=tuple(tests),
    )


def _ranking(lineup: Lineup, one: Answers, two: Answers) -> list[Tested]:
    cases, found = lineup.cases, []
    findings = cases.findings()
    for index, known, present in findings:
        groups = [patient for patient, own in zip(cases.patients, known, strict=True) if own]
        test = delong(present[known], [one.ranks[known, index], two.ranks[known, index]], groups).test(0, 1)
        found.append(Tested("ranking", cases.classes[index] if len(findings) > 1 else "", test, test.p))
    return found


def _decisions(lineup: Lineup, one: Answers, two: Answers) -> list[Tested]:
    known, right = right_matrix(lineup, one)
    _, other = right_matrix(lineup, two)
    found = []
    for column in range(known.shape[1]):
        rows = known[:, column]
        groups = [patient for patient, own in zip(lineup.cases.patients, rows, strict=True) if own]
        test = mcnemar(right[rows, column], other[rows, column], groups)
        found.append(Tested("decisions", lineup.cases.classes[column] if known.shape[1] > 1 else "", test, test.p))
    return found


def _over_folds(lineup: Lineup, one: Answers, two: Answers) -> list[Tested]:
    assert lineup.folds is not None
    sizes = [int((lineup.folds == fold).sum()) for fold in sorted(set(lineup.folds.tolist()))]
    # What was not tested trained the model, or chose its epoch and its thresholds (val).
    share_tested = float(np.mean([size / (len(lineup.cases) - size) for size in sizes])) if len(sizes) > 1 else 1.0
    found = []
    for of, by_fold in (("ranking", fold_aucs), ("decisions", fold_accuracies)):
        figures = np.array([by_fold(lineup, one), by_fold(lineup, two)])
        usable = ~np.isnan(figures).any(axis=0)
        if usable.sum() > 1:
            test = fold_tests(figures[0, usable].tolist(), figures[1, usable].tolist(), share_tested)
            found.append(Tested(of, "", test, test.corrected_p))
    return found


def _corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Holm over all pairs and findings of one test: what was asked several times is answered more carefully."""
    families: dict[tuple[str, type], list[tuple[int, int, float]]] = {}
    for place, pair in enumerate(pairs):
        for number, one in enumerate(pair.tests):
            families.setdefault((one.of, type(one.found)), []).append((place, number, one.p))
    tests = [list(pair.tests) for pair in pairs]
    for family in families.values():
        for (place, number, _), p in zip(family, holm([p for _, _, p in family]), strict=True):
            tests[place][number] = replace(tests[place][number], p_holm=p)
    return tuple(replace(pair, tests=tuple(own)) for pair, own in zip(pairs, tests, strict=True))


def write_comparison(found: Compared, folder: Path) -> list[Path]:
    """Write JSON, Markdown and picture into `folder` and return their paths."""
    from .compare_plots import comparison_figure
    from .compare_words import markdown
    from .plots import save_figure

    written = [folder / REPORT, folder / WORDS, folder / PICTURE]
    save_figure(comparison_figure(found), written[2])
    write_text(written[1], markdown(found))
    write_json(written[0], found.to_dict())
    return written


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
