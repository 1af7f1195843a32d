"""Flower as far as it is needed: that it is there, that it is quiet, and what edgedx says instead."""

from __future__ import annotations

import logging

from edgedx.core.errors import DependencyMissing


def need_flower(*, privacy: bool = False) -> None:
    """Check for Flower, and keep its console quiet.

    Raises
    ------
    DependencyMissing
        It is not installed, or not its accountant where differential privacy is asked for.
    """
    try:
        import flwr.app  # noqa: F401
        import flwr.serverapp  # noqa: F401
        import flwr.superlink  # noqa: F401 - the parts that server and site stand on; 1.42 moved them

        if privacy:
            import dp_accounting  # noqa: F401
    except ImportError as error:
        raise DependencyMissing(
            f"federated training needs the package {(error.name or 'flwr').replace('_', '-')}",
            next_step="pip install 'edgedx[federated]' (Python 3.11 or later)",
        ) from error
    logging.getLogger("flwr").setLevel(logging.ERROR)
