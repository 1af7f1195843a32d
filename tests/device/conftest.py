"""One warm decoder and one bundle for the tests of the scanner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import WarmDecoder, write_tiny
from places import Place

from edgedx.core.bundle.manifest import Bundle


@pytest.fixture(scope="module")
def decoder() -> Iterator[WarmDecoder]:
    warm = WarmDecoder()
    yield warm
    warm.end()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.edgedx")


@pytest.fixture
def place(tmp_path: Path, bundle: Bundle, decoder: WarmDecoder) -> Place:
    return Place(tmp_path, bundle, decoder)
