"""Names of the streams that are watched: what a bundle's reference, the scanner and `edgedx monitor` call them."""

from __future__ import annotations

from collections.abc import Sequence

HEADERS = ("device", "rows", "exposure", "window", "age_band", "sex", "view", "format")
"""Of the header; only a site's own first images can say what is usual."""


def probability_stream(name: str) -> str:
    """The stream of a class' probability."""
    return f"probability:{name}"


def judged(task: str, classes: Sequence[str], positive: str | None) -> list[str]:
    """Classes whose probabilities are watched: of a binary task the positive one, as the other is its mirror."""
    return [positive] if task == "binary" and positive is not None else list(classes)
