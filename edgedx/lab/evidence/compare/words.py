"""The words of a comparison: plain sentences, and tables for a terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.patients import images_of_patients
from edgedx.core.table import markdown_table

from .folds import FoldTests
from .significance import AreaTest, DecisionTest

if TYPE_CHECKING:
    from .pairs import ModelComparison, Pair, PairTest

LEVEL = 0.05
_NAMED = 4
"""Findings named in a sentence; of more, their number is told."""


def p_text(p: float) -> str:
    """``p < 0.001``, ``p = 0.032``."""
    if math.isnan(p):
        return "not testable"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def sentences(comparison: ModelComparison) -> list[str]:
    """For each pair one on ranking and one on decisions."""
    return [
        sentence for pair in comparison.pairs for sentence in (_sentence(pair, of) for of in ("ranking", "decisions"))
    ]


def _sentence(pair: Pair, of: str) -> str:
    tests = pair.best(of)
    verb, figure = ("ranks", "AUC") if of == "ranking" else ("decides", "accuracy")
    gap = pair.gap(of)
    if len(tests) > 1:
        return _of_findings(pair, tests, verb, figure, gap)
    (test,) = tests or (None,)
    if test is None or math.isnan(test.p):
        return f"{pair.second} against {pair.first}: {_gap(gap, figure)}; no test can be made on these images."
    text = f"{_by(test)}, {p_text(test.p_holm)}"
    if test.p_holm < LEVEL:
        better, worse = (pair.second, pair.first) if gap.value > 0 else (pair.first, pair.second)
        higher = gap if gap.value > 0 else Interval(-gap.value, -gap.high, -gap.low)
        alone = _alone(test, better == pair.second)
        return f"{better} {verb} better than {worse}: {_gap(higher, figure)} ({text}{alone})."
    return (
        f"{pair.second} against {pair.first}: {_gap(gap, figure)}; no difference is shown ({text}), which does not "
        "prove them equal."
    )


def _of_findings(pair: Pair, tests: Sequence[PairTest], verb: str, figure: str, gap: Interval) -> str:
    parts = []
    for sign, words in ((1, f"{pair.second} {verb} better"), (-1, f"{pair.first} {verb} better")):
        shown = [one for one in tests if one.p_holm < LEVEL and sign * _direction(one) > 0]
        if shown:
            named = ", ".join(f"{one.finding} ({p_text(one.p_holm)})" for one in shown[:_NAMED])
            more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
            parts.append(f"{words} for {named}{more}")
    rest = sum(not one.p_holm < LEVEL for one in tests)
    if rest:
        parts.append(f"for {rest} of {len(tests)} classes no difference was shown ({_by(tests[0])})")
    return f"{pair.second} against {pair.first}: {_gap(gap, 'mean ' + figure)}; {'; '.join(parts)}."


def _direction(test: PairTest) -> float:
    if isinstance(test.found, AreaTest):
        return test.found.difference.value
    if isinstance(test.found, DecisionTest):
        return test.found.only_second - test.found.only_first
    return test.found.mean.value


def _gap(gap: Interval, figure: str) -> str:
    if math.isnan(gap.value):
        return f"{figure} is not known of one of them"
    word = "higher" if gap.value >= 0 else "lower"
    return f"{figure} {word} by {abs(gap.value):.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def _by(test: PairTest) -> str:
    if isinstance(test.found, AreaTest):
        return "DeLong"
    return "McNemar" if isinstance(test.found, DecisionTest) else "t-test corrected for shared training images"


def _alone(test: PairTest, second: bool) -> str:
    if not isinstance(test.found, DecisionTest):
        return ""
    counts = (test.found.only_second, test.found.only_first)
    right, wrong = counts if second else counts[::-1]
    return f"; right alone on {right} images, wrong alone on {wrong}"


# Tables


def subject_rows(comparison: ModelComparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each subject with its figures, the best AUC first."""
    area = f"AUC, mean of {comparison.folds} folds" if comparison.folds else "AUC"
    order = sorted(
        comparison.auc,
        key=lambda name: -comparison.auc[name].value if not math.isnan(comparison.auc[name].value) else 1,
    )
    rows = [
        [name, str(comparison.auc[name]), str(comparison.accuracy[name]), comparison.lineup.ran[name]] for name in order
    ]
    return ["subject", area, "accuracy", "what answered"], rows


def image_rows(comparison: ModelComparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the tests on images: DeLong and McNemar."""
    header = ["pair", "of", "difference", "test", "p", "p, Holm", "effect"]
    rows = []
    for pair in comparison.pairs:
        for test in pair.tests:
            if isinstance(test.found, FoldTests):
                continue
            if isinstance(test.found, AreaTest):
                gap = test.found.difference
                text = [f"AUC {test.finding}".strip(), _signed(gap), f"DeLong z {test.found.z:.2f}"]
                effect = "the difference"
            else:
                one = test.found
                alone = f"right alone {one.only_second} : {one.only_first}"
                kind = "McNemar exact" if one.exact else f"McNemar chi2 {one.statistic:.2f}"
                text = [f"decisions {test.finding}".strip(), alone, kind]
                effect = f"odds ratio {_ratio(one.odds_ratio)}"
            rows.append([f"{pair.second} - {pair.first}", *text, _p(test.p), _p(test.p_holm), effect])
    return header, rows


def fold_rows(comparison: ModelComparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the tests over folds; none without folds."""
    header = ["pair", "of", "mean difference", "corrected t", "p", "p, Holm", "paired t, p", "Wilcoxon p", "d_z",
              "rank-biserial"]  # fmt: skip
    rows = []
    for pair in comparison.pairs:
        for test in pair.tests:
            one = test.found
            if isinstance(one, FoldTests):
                of = "AUC" if test.of == "ranking" else "accuracy"
                rows.append(
                    [f"{pair.second} - {pair.first}", of, _signed(one.mean), f"{one.corrected_t:.2f}", _p(test.p),
                     _p(test.p_holm), _p(one.t_p), _p(one.wilcoxon_p), f"{one.d_z:.2f}", f"{one.rank_biserial:.2f}"]
                )  # fmt: skip
    return header, rows


def about(comparison: ModelComparison) -> str:
    """What was compared, and how intervals were made."""
    drawn = "patients" if comparison.patients < len(comparison.lineup.cases) else "images"
    return (
        f"{images_of_patients(len(comparison.lineup.cases), comparison.patients)} ({comparison.lineup.where}); "
        "95 % intervals by "
        f"{comparison.resamples} resamples of {drawn}; p corrected by Holm over all pairs and classes of one test"
    )


def markdown(comparison: ModelComparison) -> str:
    """The whole comparison as Markdown."""
    lines = ["# Comparison", "", *[f"- {one}" for one in sentences(comparison)], "", f"{about(comparison)}.", ""]
    lines += [f"> {note}" for note in comparison.notes] + ([""] if comparison.notes else [])
    if comparison.lineup.synthetic:
        lines += ["> SYNTHETIC data: these figures say nothing about patients.", ""]
    for title, (header, rows) in (
        ("Subjects", subject_rows(comparison)),
        ("Tests on images", image_rows(comparison)),
        ("Tests over folds", fold_rows(comparison)),
    ):
        if rows:
            lines += [f"## {title}", "", *markdown_table(header, rows), ""]
    lines += ["![Paired differences with intervals](comparison.png)", ""]
    lines += [
        "Differences are the first named less the second. What each test assumes: docs/statistics.md of edgedx.",
        "",
    ]
    return "\n".join(lines)


def _signed(gap: Interval) -> str:
    return f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def _ratio(ratio: Interval) -> str:
    return "-" if math.isnan(ratio.value) else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _p(p: float) -> str:
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
