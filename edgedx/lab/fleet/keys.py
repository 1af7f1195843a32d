"""Keys of a repository: edgedx's own Ed25519 key files, in the form that python-tuf signs and verifies with.

A key keeps its id: what ``edgedx keys`` prints, what a device shows and what stands in root.json can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey

from edgedx.core.bundle.signing import PublicKey, SigningKey, load_signing_key, read_public
from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import storage_error

NAME = "x-edgedx-name"
Load = Callable[[Path], SigningKey]


def tuf_key(key: PublicKey) -> SSlibKey:
    """A public key as it stands in metadata."""
    return SSlibKey(key.id, "ed25519", "ed25519", {"public": key.raw.hex()}, {NAME: key.name})


def title(key: Key) -> str:
    """Name and id of a key in metadata, for people."""
    return f"{key.unrecognized_fields.get(NAME, 'key')} ({key.keyid})"


class KeySigner(Signer):
    """Signs metadata with a key of edgedx."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    @property
    def public_key(self) -> SSlibKey:
        """Of the key."""
        return tuf_key(self._key.public)

    def sign(self, payload: bytes) -> Signature:
        """Sign bytes as they are: TUF's metadata say themselves of what type they are."""
        return Signature(self._key.public.id, self._key.sign(payload, prefix=b"").value.hex())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> KeySigner:
        """Not by address: a `Keyring` opens keys."""
        raise NotImplementedError


class Keyring:
    """The keys at hand: those in some folders, each a ``.key`` with its ``.pub``; a private one is opened when needed.

    Parameters
    ----------
    folders : sequence of Path
        Folders, or single ``.key`` files.
    load : callable
        Opens a private key; it may ask for a password.

    Raises
    ------
    InputOutputError
        A folder is missing, or a key has no ``.pub`` beside it.
    """

    def __init__(self, folders: Sequence[Path], load: Load = load_signing_key) -> None:
        self._load, self._open = load, dict[str, KeySigner]()
        self._files: dict[str, Path] = {}
        for path in _key_files(folders):
            public = path.with_suffix(".pub")
            if not public.is_file():
                raise InputOutputError(f"{path} has no {public.name} beside it", next_step="put both into one folder")
            self._files[read_public(public).id] = path

    def signers(self, ids: Iterable[str]) -> list[KeySigner]:
        """Those of some keys that are at hand.

        Raises
        ------
        UsageError
            A ``.key`` is not the one of the ``.pub`` beside it.
        """
        found = []
        for key_id in ids:
            if key_id not in self._files:
                continue
            if key_id not in self._open:
                key = self._load(self._files[key_id])
                if key.public.id != key_id:
                    raise UsageError(
                        f"{self._files[key_id]} is another key than the .pub beside it", next_step="put them right"
                    )
                self._open[key_id] = KeySigner(key)
            found.append(self._open[key_id])
        return found


def _key_files(folders: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in folders:
        if path.is_file():
            found.append(path)
            continue
        try:
            found += sorted(one for one in path.iterdir() if one.suffix == ".key")
        except OSError as error:
            raise storage_error(path, error) from error
    return found
