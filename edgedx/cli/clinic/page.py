"""``edgedx page``: the page of a clinic's box, and who may open it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.lazy import group_with_default

from . import show

Out = Annotated[Path, typer.Option(help="The --out of the scanner; the page keeps its people and answers there, too.")]

app = typer.Typer(
    help="The page of a clinic's box.", cls=group_with_default("run"), rich_markup_mode=None, add_completion=False
)


@app.command("run", short_help="Serve the page; 'run' need not be typed.")
def run(
    out: Out,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the device that the bundle is installed in, if it is.")
    ] = None,
    inbox: Annotated[
        Path | None, typer.Option(help="The inbox of the scanner, for uploads; there are none without it.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve at; 0.0.0.0: the whole network, with TLS and a PIN for each person.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8443,
    https: Annotated[bool, typer.Option("--https", help="TLS and PINs on this machine alone, too.")] = False,
    name: Annotated[
        list[str] | None, typer.Option(help="Further name that the box is called by in the network; repeatable.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Certificate of your own authority (PEM); the box makes one unless given.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Key of --certificate (PEM, no password).")] = None,
    language: Annotated[
        str, typer.Option(help="Language where the browser asks for none of ours: en, fr, es, pt, sw, hi.")
    ] = "en",
    names: Annotated[
        bool, typer.Option("--names", help="Show what files and patients are called. Never logged.")
    ] = False,
    blind: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of images that people answer before they see the model's.")
    ] = 0.05,
    json: Annotated[bool, typer.Option("--json", help="Print where it is open as JSON.")] = False,
) -> None:
    """Show what the scanner found, take answers and uploads, in a browser on a tablet or phone, without internet.

    Example: edgedx page --out results --inbox inbox

    On this machine alone (127.0.0.1) nobody logs in. In the network there is no page without TLS and PINs: the console
    shows the certificate's fingerprint, and how to make the first administrator. `edgedx page person` does that, too.
    Stop it with Ctrl-C or SIGTERM. A service: `edgedx scan unit --page`.
    """
    from edgedx.cli.common import check_choice
    from edgedx.core.messages import LANGUAGES
    from edgedx.core.result import NOT_A_MEDICAL_DEVICE
    from edgedx.device.page.serve import Address, begin_log, serve_page
    from edgedx.device.page.settings import PageSettings

    check_choice("--language", language, tuple(LANGUAGES))
    typer.echo(NOT_A_MEDICAL_DEVICE, err=True)
    begin_log()
    settings = PageSettings(out, root, inbox, blind_share=blind, show_names=names, language=language)
    address = Address(host, port, https, tuple(name or ()), certificate, key)
    serve_page(settings, address, lambda opened: show.opened(opened, json=json))


@app.command("person", short_help="Let somebody in, or give a new PIN.")
def person(
    name: Annotated[str, typer.Argument(help="What the person is called, on the page alone.")],
    out: Out,
    role: Annotated[
        str | None, typer.Option(help="reader: sees and answers; administrator: people, settings and export, too.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Let the person in no more; answers are kept.")] = False,
) -> None:
    """Let somebody in to the page; or give one who is known a new PIN, another role, or no way in any more.

    Example: edgedx page person amina --out results --role administrator

    The PIN is asked for, or read from the first line of stdin; the person chooses another at the first log-in. It works
    while the page runs.
    """
    from edgedx.device.page.people_console import let_in, let_out

    if remove:
        let_out(out, name)
        show.person(name, None)
    else:
        show.person(name, let_in(out, name, role, show.new_pin))
