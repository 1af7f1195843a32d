"""What the clinic's commands print."""

from __future__ import annotations

import sys
from typing import Any

import typer

from edgedx.cli.common import line, print_json, remark, tell


def opened(page: Any, *, json: bool) -> None:
    """Where a page is open; with TLS, its fingerprint and a code for a phone's camera."""
    if json:
        print_json(
            {
                "urls": page.urls,
                "fingerprint": page.certificate.fingerprint if page.certificate else None,
                "code": page.code or None,
            }
        )
        sys.stdout.flush()
        return
    line("open", page.urls[0])
    for url in page.urls[1:]:
        line("or", url)
    if page.certificate:
        _certificate(page)
    if page.code and sys.stderr.isatty():
        line("first", f"the first administrator is made there, with this code: {page.code[:5]}-{page.code[5:]}")
    elif page.code:  # not into a file that others may read
        line("first", "make the first administrator: edgedx page person NAME --role administrator --out OUT")
    line("stop", "Ctrl-C")
    sys.stdout.flush()


def _certificate(page: Any) -> None:
    from edgedx.device.page.door.code import terminal_code

    line("known by", f"SHA-256 {page.certificate.fingerprint}")
    if page.certificate.fresh:
        line("", "a new certificate: browsers warn of it once; compare this fingerprint before you go on")
    if sys.stdout.isatty():
        tell(terminal_code(page.urls[0], page.certificate.fingerprint))


def person(name: str, role: str | None) -> None:
    """Who was let in, or out."""
    line("removed" if role is None else role, name)


def new_pin() -> str:
    """A PIN, asked for twice, or the first line of stdin."""
    if sys.stdin.isatty():
        return str(typer.prompt("PIN (6 digits or more)", hide_input=True, confirmation_prompt=True))
    remark("PIN: read from stdin")
    return sys.stdin.readline().strip()
