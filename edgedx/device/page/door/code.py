"""The page's address and fingerprint as a picture for a phone's camera (QR code), drawn in a terminal."""

from __future__ import annotations

import io


def terminal_code(url: str, fingerprint: str) -> str:
    """A QR code of the address; the fingerprint follows ``#``, which a browser shows and never sends."""
    import segno

    drawn = io.StringIO()
    code = segno.make(f"{url}#{fingerprint.replace(':', '')}", error="l", micro=False)
    code.terminal(out=drawn, border=2, compact=True)
    return drawn.getvalue()
