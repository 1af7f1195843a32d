"""What a starting scanner does with a slot: every combination of facts."""

from __future__ import annotations

from itertools import product

import pytest

from edgedx.device.install.trial import MAX_STARTS, Facts, next_action


def test_every_combination_has_the_safe_action() -> None:
    for on_trial, starts, verifies, activates, other in product(
        (False, True), range(MAX_STARTS + 2), (False, True), (None, False, True), (False, True)
    ):
        action = next_action(Facts(on_trial, starts, verifies, activates, other))
        if action == "serve":
            assert verifies and activates is not False
        if action == "revert":
            assert other  # never to a slot that is not whole
        if action == "refuse":
            assert not (verifies and activates is not False)  # what works is served, for want of better
        if not on_trial and verifies:
            assert action != "revert"  # a confirmed slot that is whole is never left on its own


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        (Facts(True, 0, True, None, True), "serve"),
        (Facts(True, MAX_STARTS - 1, True, None, True), "serve"),
        (Facts(True, MAX_STARTS, True, None, True), "revert"),
        (Facts(True, MAX_STARTS, True, None, False), "serve"),
        (Facts(False, MAX_STARTS, True, None, True), "serve"),
        (Facts(True, 0, False, None, True), "revert"),
        (Facts(False, 0, False, None, True), "revert"),
        (Facts(False, 0, False, None, False), "refuse"),
        (Facts(True, 0, True, False, True), "revert"),
        (Facts(True, 0, True, False, False), "refuse"),
        (Facts(False, 0, True, False, True), "refuse"),
    ],
)
def test_the_cases_that_matter(facts: Facts, action: str) -> None:
    assert next_action(facts) == action
