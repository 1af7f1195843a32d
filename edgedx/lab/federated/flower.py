"""Flower as far as it is needed: that it is there, that it is quiet, and what edgedx says instead."""

from __future__ import annotations

import logging
import platform
import sys

from edgedx.core.errors import DependencyMissing

OLDEST_PYTHON = (3, 11)


def need_flower(*, privacy: bool = False) -> None:
    """Check for Flower, and keep its console quiet.

    Raises
    ------
    DependencyMissing
        It is not installed, or not its accountant where differential privacy is asked for; or this Python is older
        than Flower's oldest, where pip leaves both out without a word.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise DependencyMissing(
            f"federated training needs Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later, as Flower does; this is "
            f"{platform.python_version()}",
            next_step="make an environment of a later Python, and there pip install 'edgedx[federated]'",
        )
    try:
        import flwr.app  # noqa: F401
        import flwr.serverapp  # noqa: F401
        import flwr.superlink  # noqa: F401 - the parts that server and site stand on; 1.42 moved them

        if privacy:
            import dp_accounting  # noqa: F401
    except ImportError as error:
        raise DependencyMissing(
            f"federated training needs the package {(error.name or 'flwr').replace('_', '-')}",
            next_step="pip install 'edgedx[federated]'",
        ) from error
    logging.getLogger("flwr").setLevel(logging.ERROR)
