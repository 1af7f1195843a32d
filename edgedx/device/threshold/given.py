"""Where labels come from: one of three, as a command or a page names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import UsageError
from edgedx.device.install.health import serving_variant

from .evidence import Evidence, from_answers, from_images, from_results


@dataclass(frozen=True)
class Given:
    """One source of labels.

    Attributes
    ----------
    data : Path, optional
        Labelled images: a folder for each class, or a CSV (image,label).
    results, labels : Path, optional
        The scanner's output folder, and a CSV of labels for what it has read.
    answers : Path, optional
        The scanner's output folder, whose page people have answered on.
    seen : bool
        Of answers: those that were given after the model's answer was seen count, too.
    subgroups : tuple of str
        Columns of the CSV to tell apart.
    """

    data: Path | None = None
    results: Path | None = None
    labels: Path | None = None
    answers: Path | None = None
    seen: bool = False
    subgroups: tuple[str, ...] = ()
    threads: int = 0

    def __post_init__(self) -> None:
        named = [one for one in (self.data, self.results, self.answers) if one is not None]
        if len(named) != 1:
            raise UsageError(
                "labels come from one place" if named else "nothing says what is true of the images",
                next_step="give --data CSV, or --results OUT with --labels CSV, or --answers OUT",
            )
        if (self.results is None) != (self.labels is None):
            raise UsageError("--results and --labels belong together", next_step="give both")
        if self.seen and self.answers is None:
            raise UsageError("--seen is about --answers", next_step="leave it out")
        if self.subgroups and self.answers is not None:
            raise UsageError("answers have no columns to tell apart", next_step="leave --subgroup out")

    def evidence(self, bundle: Bundle) -> Evidence:
        """What a bundle says to them (see `evidence`)."""
        if self.data is not None:
            variant = serving_variant(bundle)
            return from_images(bundle, self.data, self.subgroups, variant=variant, threads=self.threads)
        if self.results is not None and self.labels is not None:
            return from_results(bundle, self.results, self.labels, self.subgroups)
        assert self.answers is not None
        return from_answers(bundle, self.answers, seen=self.seen)

    def options(self) -> list[object]:
        """As options of a command, to be pasted."""
        words: list[object] = []
        for name in ("data", "results", "labels", "answers"):
            if (value := getattr(self, name)) is not None:
                words += [f"--{name}", value]
        return [*words, *(["--seen"] if self.seen else [])]
