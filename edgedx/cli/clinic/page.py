"""``edgedx page``: the page of a clinic's box, and who may open it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
        Path | None,
        typer.Option(help="Folder of the device that holds what is installed, trusted keys and state."),
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
    certificate_key: Annotated[
        Path | None, typer.Option(help="Key of --certificate (PEM, without a password).")
    ] = None,
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
    Stop it with Ctrl-C or SIGTERM. As a service: `edgedx page unit`.
    """
    from edgedx.core.result import NOT_A_MEDICAL_DEVICE
    from edgedx.device.page.serve import begin_log, serve_page

    settings, address = _described(
        out=out, root=root, inbox=inbox, host=host, port=port, https=https, name=name, certificate=certificate,
        certificate_key=certificate_key, language=language, names=names, blind=blind,
    )  # fmt: skip
    typer.echo(NOT_A_MEDICAL_DEVICE, err=True)
    begin_log()
    serve_page(settings, address, lambda opened: show.opened(opened, json=json))


def _described(
    *, out: Path, root: Path | None, inbox: Path | None, language: str, names: bool, blind: float, **address: Any
) -> Any:
    """Settings and address that the options describe."""
    from edgedx.cli.common import check_choice
    from edgedx.core.messages import LANGUAGES
    from edgedx.device.page.serve import Address
    from edgedx.device.page.settings import PageSettings

    check_choice("--language", language, tuple(LANGUAGES))
    settings = PageSettings(out, root, inbox, blind_share=blind, show_names=names, language=language)
    called, key = tuple(address.pop("name") or ()), address.pop("certificate_key")
    return settings, Address(**address, names=called, key=key)


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


@app.command(
    "unit",
    short_help="A systemd unit for the page.",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="--out OUT [OPTIONS]",
)
def unit(context: typer.Context) -> None:
    """Print a hardened systemd unit that serves a page with these arguments; nothing is served.

    Example: edgedx page unit --out results --inbox inbox --host 0.0.0.0 > edgedx-page.service

    It takes the arguments of `edgedx page`. What the scanner writes is read-only to the service; it may write its own
    databases, the audit log, and uploads into the inbox. `edgedx scan unit --write FOLDER` writes both units.
    """
    from edgedx.device.page.unit import page_unit

    words = list(context.args)
    page = typer.Typer(add_completion=False, rich_markup_mode=None)
    page.command("run")(run)
    given = dict(typer.main.get_command(page).make_context("edgedx page", words.copy()).params)
    given.pop("json")
    for option in ("out", "root", "inbox", "certificate", "certificate_key"):
        given[option] = None if given[option] is None else Path(given[option])
    typer.echo(page_unit(words, *_described(**given)), nl=False)
