"""Other names for what identifies: the same for the same input and key, and nobody without the key can tell which."""

from __future__ import annotations

import hmac
import uuid

from pydicom.uid import UID


class Pseudonyms:
    """HMAC-SHA256 (RFC 2104) of what identifies, in the forms that DICOM wants.

    A plain hash would not do: UIDs and patient IDs are few enough to try them all.

    Parameters
    ----------
    key : bytes
        32 or more, secret.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a key has 32 bytes or more")
        self._key = key

    def uid(self, original: str) -> str:
        """Another UID, below root 2.25 (PS3.5 B.2); UIDs of the standard itself stay, as they identify nobody."""
        text = original.strip("\0 ")
        if not text or UID(text).name != text:
            return text
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', text)[:16], version=5).int}"

    def patient(self, patient_id: str, issuer: str) -> str:
        """Patient ID and name: one for each patient, so that studies of one stay together; empty where it was."""
        text = patient_id.strip()
        return f"P{self._digest('patient', issuer.strip(), text).hex()[:20].upper()}" if text else ""

    def key(self, result_key: str) -> str:
        """Another key for a result, of the same form."""
        return self._digest("result", result_key).hex()

    def _digest(self, *words: str) -> bytes:
        return hmac.digest(self._key, "\0".join(words).encode(), "sha256")
