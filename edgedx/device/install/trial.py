"""What a scanner does with the active slot when it starts: facts in, action out, no input or output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_STARTS = 3
"""Starts on a slot on trial that neither gave a result nor ended in order; the next one goes back."""

Action = Literal["serve", "revert", "refuse"]


@dataclass(frozen=True)
class Facts:
    """What is known when a scanner starts.

    Attributes
    ----------
    on_trial : bool
        No image has been answered by the active slot since it was switched to.
    starts : int
        Earlier starts on trial that did not end in order.
    verifies : bool
        Signature and hashes of the active slot hold.
    activates : bool or None
        Its model loads and reproduces its golden samples; None where that was not tried yet.
    other_verifies : bool
        Signature and hashes of the other slot hold.
    """

    on_trial: bool
    starts: int
    verifies: bool
    activates: bool | None
    other_verifies: bool


def next_action(facts: Facts) -> Action:
    """Serve from the active slot, go back to the other one, or refuse to start.

    A confirmed slot that does not activate is not left: what changed then is the machine (a driver, a package), and
    its operator should hear of it instead of getting an older model.
    """
    if not facts.verifies:
        return "revert" if facts.other_verifies else "refuse"
    if facts.activates is False:
        return "revert" if facts.on_trial and facts.other_verifies else "refuse"
    if facts.on_trial and facts.starts >= MAX_STARTS and facts.other_verifies:
        return "revert"
    return "serve"
