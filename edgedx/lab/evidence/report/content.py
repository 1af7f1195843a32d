"""The sections of a report about one run: a verdict each, then its figures."""

from __future__ import annotations

import math

from . import words
from .collect import JudgedModel, RunFacts
from .section import Headline, ReportSection, Table

_FAR_OFF = 0.1
"""Calibration error above which probabilities are not to be taken as they stand."""


def sections_of(facts: RunFacts) -> list[ReportSection]:
    """All sections but those of other commands, in their order; the model card comes by itself (`card_of`)."""
    return [
        ReportSection("short", "In short", texts=words.summary(facts)),
        _side_by_side(facts),
        _curves(facts),
        _gate(facts),
        _classes(facts),
        _decisions(facts),
        _subgroups(facts),
        *_training(facts),
        _data(facts),
    ]


def card_of(facts: RunFacts) -> ReportSection:
    """The model card."""
    return ReportSection("card", "Model card", parts=list(words.card(facts)))


def _side_by_side(facts: RunFacts) -> ReportSection:
    note = (
        f"On the {facts.split} split; below each figure its 95 % interval. The last column is the model for "
        "the device. Accuracy is of decisions at the operating point."
    )
    table = words.side_by_side(facts)
    return ReportSection(
        "side-by-side",
        "Side by side",
        headline=_headline_of_loss(facts),
        tables=[Table(table.header, table.rows, note=note)],
    )


def _headline_of_loss(facts: RunFacts) -> Headline:
    if facts.lost is None:
        return Headline("Nothing is compressed yet: there is one model to look at.")
    drop = facts.lost.whole.auc.drop
    if math.isnan(drop.low):
        return Headline("What compression costs cannot be told on these images.", "bad")
    if drop.low > 0:
        return Headline(f"Compression costs {drop.value:.3f} AUC ({drop.low:.3f} to {drop.high:.3f}).", "bad")
    if drop.high < 0:
        return Headline(f"The model for the device is better by {-drop.value:.3f} AUC than the full one.", "good")
    return Headline(
        f"No loss of AUC by compression is shown; it may be up to {max(drop.high, 0.0):.3f}.",
        "good" if drop.high < 0.05 else "plain",
    )


def _curves(facts: RunFacts) -> ReportSection:
    error = facts.shipped.figures.overall["ece"].value
    text = f"Probabilities of {facts.shipped.name} are off by {error:.3f} on average (calibration error)"
    headline = Headline(f"{text}: read them as an order only.", "bad") if error > _FAR_OFF else Headline(f"{text}.")
    return ReportSection("curves", "Curves", headline=headline)


def _gate(facts: RunFacts) -> ReportSection:
    verdict = facts.verdict
    if verdict is None:
        return ReportSection("gate", "The gate", headline=Headline(words.gate_sentence(facts), "bad"))
    checks = [
        f"{one['name']}: {'held' if one['passed'] else 'FAILED'}. {one['sentence']}"
        for one in verdict.get("checks", [])
        if one["sentence"] != verdict["sentence"]
    ]
    # Often the verdict is no more than the sentences of the checks that failed: nobody reads them twice.
    listed = all(part in " ".join(checks) for part in str(verdict["sentence"]).split("; "))
    different = verdict.get("flips")
    if isinstance(different, int) and verdict.get("images"):
        checks.append(f"{different} of {verdict['images']} decisions differ from the full model's")
    headline = Headline("Passed", "good") if verdict["passed"] else Headline("Not passed", "bad")
    return ReportSection("gate", "The gate", headline=headline, texts=[] if listed else [str(verdict["sentence"])],
                         items=checks)  # fmt: skip


def _classes(facts: RunFacts) -> ReportSection:
    figures = facts.shipped.figures
    by_class, fixed = words.by_class(facts), words.at_specificity(facts)
    known = {
        name: one["sensitivity"] for name, one in figures.classes.items() if not math.isnan(one["sensitivity"].value)
    }
    headline = None
    if known:
        worst = min(known, key=lambda name: known[name].value)
        headline = Headline(f"Found least often: {worst}, {words.in_words(known[worst])} of them.")
    return ReportSection(
        "classes",
        f"Each class, {facts.shipped.name}",
        headline=headline,
        tables=[
            by_class,
            Table(fixed.header, fixed.rows, "Sensitivity at fixed specificity",
                  "There the threshold is chosen on these very images."),
        ],
    )  # fmt: skip


def _decisions(facts: RunFacts) -> ReportSection:
    figures = facts.shipped.figures
    if "findings" in figures.confusion:
        tables = figures.confusion["findings"].values()
        wrong = sum(table[0][1] + table[1][0] for table in tables)
        total = sum(sum(map(sum, table)) for table in figures.confusion["findings"].values())
        what = "decisions on single findings"
    else:
        counts = figures.confusion["counts"]
        total = sum(map(sum, counts))
        wrong = total - sum(counts[index][index] for index in range(len(counts)))
        what = "decisions"
    text = f"{wrong} of {total} {what} of {facts.shipped.name} are wrong."
    return ReportSection("decisions", "Decisions", headline=Headline(text))


def _subgroups(facts: RunFacts) -> ReportSection:
    gap, table = facts.shipped.parts.gap, words.by_subgroup(facts)
    if gap is not None:
        headline = Headline(f"{gap.sentence[0].upper()}{gap.sentence[1:]}.", "bad" if gap.proven else "plain")
    elif table is None:
        headline = Headline("No subgroup can be judged: whether the model serves all alike is not known.", "bad")
    else:
        headline = Headline("No two subgroups could be compared.")
    return ReportSection(
        "subgroups",
        "Subgroups",
        headline=headline,
        tables=[table] if table is not None else [],
        items=words.not_judged(facts),
    )


def trained(facts: RunFacts) -> list[JudgedModel]:
    """Models with a learning curve worth drawing."""
    return [one for one in facts.models if len(one.facts.get("history") or []) > 1]


def _training(facts: RunFacts) -> list[ReportSection]:
    models = trained(facts)
    if not models:
        return []
    parts = []
    for one in models:
        history = one.facts["history"]
        best = max(range(len(history)), key=lambda index: history[index]["val_auc"])
        parts.append(f"{one.name} was best in epoch {best + 1} of {len(history)}, AUC {history[best]['val_auc']:.3f}")
    return [ReportSection("training", "Training", headline=Headline(f"On val {'; '.join(parts)}."))]


def _data(facts: RunFacts) -> ReportSection:
    excluded = sum(facts.data.get("excluded", {}).values())
    text = f"{facts.data['images']} images are used" + (f", {excluded} were left out." if excluded else ".")
    if facts.shortcuts.sentences:
        text += " Something besides the disease tells their class: see below."
    return ReportSection(
        "data",
        "Data",
        headline=Headline(text, "bad" if facts.shortcuts.sentences else "plain"),
        tables=[words.counts(facts)],
        items=words.exclusions(facts),
    )
