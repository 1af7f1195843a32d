"""What one page serves, and to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .door.limits import Limits


@dataclass(frozen=True)
class PageSettings:
    """What `make_app` is told.

    Attributes
    ----------
    out : Path
        ``--out`` of the scanner: its ledger and its results, which are only read.
    root : Path or None
        Device root that the bundle is installed in; None where the scanner reads with a bare bundle.
    inbox : Path or None
        Where uploads go; None: there is no upload.
    blind_share : float
        Of the images, those whose answer of the model stays hidden until a person has answered, 0 to 1.
    show_names : bool
        Whether the page shows what files and patients are called.
    language : str
        Of the box; each person may choose another.
    secure : bool
        Whether one must log in. Served on the network, always.
    names : tuple of str
        Host names under which the page may be asked for, besides the addresses that it is reached at.
    limits : Limits
    """

    out: Path
    root: Path | None = None
    inbox: Path | None = None
    blind_share: float = 0.05
    show_names: bool = False
    language: str = "en"
    secure: bool = False
    names: tuple[str, ...] = ("localhost",)
    limits: Limits = field(default_factory=Limits)
