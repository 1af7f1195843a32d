"""Several images as one sample: a window of the last days, or the first images of a site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.bundle.streams import HEADERS
from edgedx.core.image_statistics import FINGERPRINT, repeated

from .store import WatchedImage

LEAST, MOST = 200, 1000
"""Images of a window: fewer say too little, and more than `MOST` would only cost time."""
WEEK = 7 * 86400
ANSWERED = "answered"
"""Outcome of an image that has a prediction; any other outcome is a reason code."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Images in order of arrival."""

    images: Sequence[WatchedImage]

    def __len__(self) -> int:
        return len(self.images)

    def numbers(self, stream: str) -> Floats:
        """Values of those images that have one, in order, shape (n,)."""
        return np.array([one.facts["numbers"][stream] for one in self.images if stream in one.facts["numbers"]])

    @cached_property
    def number_streams(self) -> list[str]:
        """Streams that at least half of the answered images have."""
        found = Counter(name for one in self.images for name in one.facts["numbers"])
        return sorted(name for name, count in found.items() if 2 * count >= self.outcomes[ANSWERED])

    @cached_property
    def categories(self) -> dict[str, Counter[str]]:
        """Counts by stream and value."""
        found: dict[str, Counter[str]] = {}
        for one in self.images:
            for name, value in one.facts["categories"].items():
                found.setdefault(name, Counter())[value] += 1
        return found

    @cached_property
    def outcomes(self) -> Counter[str]:
        """Counts by `ANSWERED` or reason code."""
        return Counter(one.facts.get("refused", ANSWERED) for one in self.images)

    @cached_property
    def called(self) -> Counter[str]:
        """Answered images by class that was decided for."""
        return Counter(name for one in self.images for name in one.facts.get("called", ()))

    @cached_property
    def unlike(self) -> tuple[int, int]:
        """How many are unlike the training images, of how many that were asked about."""
        asked = [one.facts["unlike"] for one in self.images if "unlike" in one.facts]
        return sum(asked), len(asked)

    @cached_property
    def repeats(self) -> tuple[int, int]:
        """How many have three near-identical ones among those of the same `LEAST`, of how many that were read."""
        marks = [one.mark for one in self.images if one.mark is not None and len(one.mark) == FINGERPRINT]
        every = np.frombuffer(b"".join(marks), np.uint8).reshape(-1, FINGERPRINT)
        parts = [every[start : start + LEAST] for start in range(0, len(every), LEAST)]
        return sum(int(repeated(part).sum()) for part in parts), len(every)

    def probabilities(self, classes: Sequence[str]) -> Floats:
        """Of the answered images, shape (n, K)."""
        rows = [[one.facts["p"].get(name, np.nan) for name in classes] for one in self.images if "p" in one.facts]
        return np.array(rows, np.float64).reshape(-1, len(classes))

    @property
    def thresholds(self) -> dict[str, float]:
        """In force for the last answered image."""
        found: dict[str, Any] = next((one.facts["at"] for one in reversed(self.images) if "at" in one.facts), {})
        return {str(name): float(value) for name, value in found.items()}

    @cached_property
    def clock_jumped(self) -> bool:
        """Whether the clock jumped within these images, or cannot be right."""
        pairs = zip(self.images, self.images[1:], strict=False)
        return any(_jumped(*pair) for pair in pairs) or not all(one.trusted for one in self.images)

    @property
    def header_streams(self) -> list[str]:
        """Those of `core.bundle.streams.HEADERS` that say anything."""
        return [name for name in HEADERS if name in self.categories or name in self.number_streams]


def window(images: Sequence[WatchedImage]) -> Sample:
    """The images of the last week, but the last `LEAST` at least, as far as there are any, and `MOST` at most."""
    last = list(images)[-MOST:]
    jumps = [place for place in range(1, len(last)) if _jumped(last[place - 1], last[place])]
    steady = last[jumps[-1] :] if jumps else last  # what came before a jump has no day that can be compared
    recent = [one for one in steady if one.time > steady[-1].time - WEEK]
    return Sample(last[-max(LEAST, len(recent)) :])


def _jumped(earlier: WatchedImage, later: WatchedImage) -> bool:
    """Whether the clock went back, by more than a time server sets it, or cannot be right."""
    return later.time < earlier.time - 3600 or not later.trusted


def stream_values(sample: Sample, stream: str) -> list[tuple[int, float]]:
    """Time and value of each image, for the search of a turning point; of a category, whether it is the commonest."""
    if stream in sample.number_streams:
        return [(one.time, float(one.facts["numbers"][stream])) for one in sample.images
                if stream in one.facts["numbers"]]  # fmt: skip
    if stream in sample.categories:
        half = len(sample.images) // 2
        recent = Counter(one.facts["categories"].get(stream) for one in sample.images[half:])
        usual = recent.most_common(1)[0][0]
        return [(one.time, float(one.facts["categories"].get(stream) == usual)) for one in sample.images]
    if stream == "refusals":
        return [(one.time, float("refused" in one.facts)) for one in sample.images]
    if stream == "unlike":
        return [(one.time, float(one.facts.get("unlike", False))) for one in sample.images]
    if stream.startswith("called:"):
        name = stream.partition(":")[2]
        return [(one.time, float(name in one.facts.get("called", ()))) for one in sample.images]
    return []
