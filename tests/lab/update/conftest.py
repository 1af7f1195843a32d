"""One small model in service for all tests of updates."""

from __future__ import annotations

import pytest
from clinics import make_deployed

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.run.run import Run


@pytest.fixture(scope="package")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Run]:
    """Recipe and run of a model with a bundle; the run is never written to."""
    return make_deployed(tmp_path_factory.mktemp("deployed"))
