"""``edgedx fleet sign``."""

from __future__ import annotations

from edgedx.cli.options import AsJson

from . import show
from .options import Keys, Repo, keyring


def sign(repo: Repo, keys: Keys, json: AsJson = False) -> None:
    """Add signatures to a change of keys that waits; when they are enough, it is carried out.

    Example: edgedx fleet sign repo --keys /media/safe-2
    """
    ring_of_keys = keyring(keys)
    from edgedx.lab.fleet.rotate import sign_pending

    show.rotated(sign_pending(repo, ring_of_keys), repo, json=json)
