"""How many answers there are, and what they say of the model: agreement, and figures from blind answers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError
from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.metrics import Interval

from .answers import ANSWERS, VERDICTS, Answer, Answers, findings_of


@dataclass(frozen=True)
class OfClass:
    """What blind answers say of one class.

    Attributes
    ----------
    sensitivity : Interval
        Share of what people said has it that the model said has it, 95 % (Wilson).
    specificity : Interval
        Share of what people said has it not that the model said has it not.
    """

    name: str
    with_it: int
    without: int
    sensitivity: Interval
    specificity: Interval


@dataclass(frozen=True)
class OfBundle:
    """Answers to one bundle.

    Attributes
    ----------
    seen_agreement : Interval
        Of answers given after a look: it says how people go along, not how good the model is.
    blind_agreement : Interval
        Of the first blind answer of each person to each image.
    contradicted : int
        Images that people answered differently.
    """

    bundle: str
    answers: int
    images: int
    people: int
    verdicts: dict[str, int]
    contradicted: int
    seen_agreement: Interval
    blind_agreement: Interval
    blind: int
    classes: tuple[OfClass, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "bundle": self.bundle,
            "answers": self.answers,
            "images": self.images,
            "people": self.people,
            **self.verdicts,
            "contradicted": self.contradicted,
            "agreement_after_a_look": self.seen_agreement.to_dict(),
            "blind_answers": self.blind,
            "blind_agreement": self.blind_agreement.to_dict(),
            "blind_by_class": [
                {
                    "class": one.name,
                    "with_it": one.with_it,
                    "without": one.without,
                    "sensitivity": one.sensitivity.to_dict(),
                    "specificity": one.specificity.to_dict(),
                }
                for one in self.classes
            ],
        }


def agreement(out: Path) -> list[OfBundle]:
    """Answers by bundle; the one that was answered last comes first.

    Raises
    ------
    InputOutputError
        Nobody has answered there.
    """
    path = out / ANSWERS
    if not path.is_file():
        raise InputOutputError(f"no {ANSWERS} in {out}: nobody has answered there", next_step="see `edgedx page`")
    answers = Answers(path, read_only=True)
    try:
        newest, blind = list(answers.latest()), list(answers.blind())
    finally:
        answers.close()
    bundles = dict.fromkeys(one.bundle for one in reversed(newest))
    return [
        _of([one for one in newest if one.bundle == name], [one for one in blind if one.bundle == name])
        for name in bundles
    ]


def _of(newest: list[Answer], blind: list[Answer]) -> OfBundle:
    labels: dict[str, set[frozenset[str]]] = {}
    for one in newest:
        if one.label is not None:
            labels.setdefault(one.key, set()).add(findings_of(one.label))
    drawn = {(one.key, one.person) for one in blind}
    counts = Counter[str](one.verdict for one in newest)
    return OfBundle(
        newest[0].bundle,
        len(newest),
        len({one.key for one in newest}),
        len({one.person for one in newest}),
        {name: counts[name] for name in VERDICTS},
        sum(len(said) > 1 for said in labels.values()),
        _agreement([one for one in newest if (one.key, one.person) not in drawn]),
        _agreement(blind),
        len(blind),
        tuple(_by_class(blind)),
    )


def _agreement(answers: list[Answer]) -> Interval:
    told = [one for one in answers if one.verdict != "cannot_tell"]
    return wilson(sum(one.verdict == "agree" for one in told) / max(1, len(told)), len(told))


def _by_class(blind: list[Answer]) -> Iterator[OfClass]:
    """Images without an answer of the model, and those that people could not tell, are no part of it."""
    both = [(one.label, one.shown) for one in blind]
    told = [(findings_of(said), findings_of(shown)) for said, shown in both if said is not None and shown is not None]
    for name in sorted(set().union(*(said | shown for said, shown in told)) if told else ()):
        having = [name in shown for said, shown in told if name in said]
        lacking = [name not in shown for said, shown in told if name not in said]
        yield OfClass(
            name,
            len(having),
            len(lacking),
            wilson(sum(having) / max(1, len(having)), len(having)),
            wilson(sum(lacking) / max(1, len(lacking)), len(lacking)),
        )
