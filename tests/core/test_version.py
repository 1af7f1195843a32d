"""Versions compare as numbers, and nothing else is one."""

from __future__ import annotations

import pytest

from edgedx.core.errors import BundleError
from edgedx.core.version import version_key


def test_versions_are_ordered_as_numbers() -> None:
    ordered = ["0", "0.9", "1", "1.0.1", "1.2", "1.10", "2", "2026.11.23", "999999999"]
    assert sorted(reversed(ordered), key=version_key) == ordered
    assert version_key("1") == version_key("1.0") == version_key("1.0.0.0")


@pytest.mark.parametrize(
    "text",
    ["", "v1", "1.", ".1", "1..2", "01", "1.02", "-1", "1.2.3.4.5", "1 ", "1\n", "١", "1e3", "1" * 10, "1.0-beta"],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match="not a version"):
        version_key(text)
