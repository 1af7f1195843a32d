"""How many images of how many patients, in words; and what a small number of them means for a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from edgedx.core.stats.binomial import wilson

_EXAMPLE = 0.9
_WIDE = 0.10
_MOST_REASONS = 12


def images_and_patients(summary: Mapping[str, Any]) -> str:
    """``60 images of 30 patients``; patients are not counted where the source names none."""
    images = summary["images"]
    unnamed = summary.get("images_without_patient", 0)
    if not unnamed:
        return f"{images} images of {summary['patients']} patients"
    if unnamed == images:
        return f"{images} images, patients not known"
    patients = summary["patients"] - unnamed
    return f"{images} images, {images - unnamed} of them of {patients} patients, {unnamed} of unknown ones"


def count_reasons(excluded: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Images left out by reason, the most frequent first; many rare reasons (another label in each row) are one."""
    counted = Counter(reason for _, reason in excluded).most_common()
    shown = counted if len(counted) <= _MOST_REASONS else counted[: _MOST_REASONS - 1]
    rest = counted[len(shown) :]
    further = {f"{len(rest)} further reasons, see excluded.csv": sum(count for _, count in rest)} if rest else {}
    return dict(shown) | further


def meaning_of_count(count: int, what: str) -> str:
    """What `count` test images of a class can prove, as the 95 % interval (Wilson 1927) of a sensitivity of 90 %."""
    likely = wilson(_EXAMPLE, count)
    return (
        f"{count} test images of {what}: a sensitivity of 90 % would have a 95 % interval of "
        f"{100 * likely.low:.0f} to {100 * likely.high:.0f} %"
    )


def is_few(count: int) -> bool:
    """Whether that interval is wider than ten points."""
    likely = wilson(_EXAMPLE, count)
    return likely.high - likely.low > _WIDE
