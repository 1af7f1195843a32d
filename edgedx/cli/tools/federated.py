"""``edgedx federated``: hospitals that share no images train one model together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import RUNS, print_recipe
from edgedx.cli.options import AsJson, Overwrite, Resume, Set
from edgedx.cli.stopping import at_work

from . import show_federated as show

app = typer.Typer(
    help="Hospitals that share no images train one model together, by Flower.", no_args_is_help=True,
    rich_markup_mode=None, add_completion=False,
)  # fmt: skip

RecipeName = Annotated[
    str, typer.Argument(help="Name of a recipe of edgedx's (`edgedx recipes list`) or a .yaml file.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the recipe and stop.")]


@app.command("simulate", short_help="A federation on this machine, of a data set divided into sites.")
def simulate(
    recipe: RecipeName,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/RECIPE-federated unless given.")] = None,
    sites: Annotated[int, typer.Option(min=0, help="Divide patients into so many sites, at random.")] = 0,
    by: Annotated[str, typer.Option(help="Or make a site of each value of this subgroup column.")] = "",
    set_: Set = None,
    dry_run: DryRun = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Train as several hospitals would, on one machine, and tell what each of them would have.

    Example: edgedx federated simulate phantom --sites 3 --set federated.rounds=5

    The run that it writes is an ordinary one: go on with `edgedx compress`. Sites train one after another.
    """
    from edgedx.core.settings.recipe import load_recipe

    chosen = load_recipe(recipe, list(set_ or []))
    if dry_run:
        print_recipe(chosen)
        return
    from edgedx.lab.federated.flower import need_flower

    need_flower(privacy=chosen.federated.noise_multiplier > 0)
    from edgedx.lab.federated.simulate import Division
    from edgedx.lab.federated.simulate import simulate as work
    from edgedx.lab.run.run import Run

    run = Run(out or RUNS / f"{chosen.name}-federated")
    run.keep_recipe(chosen)
    with at_work(run.path, f"rounds that ended are in {run.path}", resume=True):
        record = work(chosen, run, Division(sites, by), overwrite=overwrite, resume=resume)
    show.by_site(record["metrics"]["federated"], run.path, json=json)


@app.command("server", short_help="The server of a federation; it holds no images.")
def server(
    recipe: RecipeName,
    keys: Annotated[Path, typer.Option(help="Folder with NAME.pub of each site that may take part.")],
    tls_certificate: Annotated[
        Path, typer.Option(help="PEM file of the server's TLS (`edgedx federated certificate`).")
    ],
    tls_key: Annotated[Path, typer.Option(help="PEM file of its private key.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT to listen at.")] = "0.0.0.0:9092",
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/RECIPE-federated unless given.")] = None,
    data: Annotated[
        bool, typer.Option("--data", help="The recipe's data are here: judge and calibrate the model on them.")
    ] = False,
    set_: Set = None,
    dry_run: DryRun = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Give weights to the sites on the list, combine what comes back, and tell the figures by site.

    Example: edgedx federated server chest.yaml --keys keys --tls-certificate trial.pem --tls-key trial.key

    Sites dial in; each has the same recipe but for where its data are. What leaves a site: docs/federated.md.
    """
    from edgedx.core.settings.recipe import load_recipe

    chosen = load_recipe(recipe, list(set_ or []))
    if dry_run:
        print_recipe(chosen)
        return
    from edgedx.lab.federated.flower import need_flower

    need_flower(privacy=chosen.federated.noise_multiplier > 0)
    from edgedx.lab.federated.server import Listening, lead

    run = out or RUNS / f"{chosen.name}-federated"
    with at_work(run, f"rounds that ended are in {run}", resume=True):
        report = lead(
            chosen,
            run,
            Listening(listen, tls_certificate, tls_key, keys),
            data=data,
            resume=resume,
            overwrite=overwrite,
        )
    show.by_site(report, run, json=json, data=data)


@app.command("site", short_help="Take part in a federation with the images of here.")
def site(
    recipe: RecipeName,
    server: Annotated[str, typer.Option(help="HOST:PORT of the federation's server.")],
    ca: Annotated[Path, typer.Option(help="PEM certificate of the server, or of who signed it.")],
    site_key: Annotated[Path, typer.Option(help="This site's private key (`edgedx federated key`).")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/RECIPE-federated unless given.")] = None,
    set_: Set = None,
    dry_run: DryRun = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Train on the images of here what the server sends, and send back weights and a few figures; no image leaves.

    Example: edgedx federated site chest.yaml --server trial.example.org:9092 --ca trial.pem --site-key north.key

    Nothing listens: this command dials out. At the end its run holds an ordinary teacher, judged on the test images of
    here: go on with `edgedx compress`.
    """
    from edgedx.core.settings.recipe import load_recipe

    chosen = load_recipe(recipe, list(set_ or []))
    if dry_run:
        print_recipe(chosen)
        return
    from edgedx.lab.federated.flower import need_flower

    need_flower()
    from edgedx.lab.federated.hospital import Calling, take_part

    run = out or RUNS / f"{chosen.name}-federated"
    with at_work(run, "this site has left the federation, and may come back", resume=True):
        record = take_part(
            chosen, run, Calling(server, ca, site_key, site_key.stem), overwrite=overwrite, resume=resume
        )
    show.took_part(record["metrics"], run, chosen.synthetic, json=json)


@app.command("key", short_help="Make a site's key: NAME.key and NAME.pub.")
def key(
    name: Annotated[str, typer.Argument(help="Name of the site, as the server shall show it.")],
    out: Annotated[Path, typer.Option(help="Folder for NAME.key and NAME.pub.")] = Path(),
    json: AsJson = False,
) -> None:
    """Make a site's key: NAME.key stays at the site (mode 0600), NAME.pub goes to the server.

    Example: edgedx federated key north
    """
    from edgedx.lab.federated.keys import new_site_key

    secret, public = new_site_key(name, out)
    show.made({"secret": secret, "public": public}, "send the .pub to who runs the server", json=json)


@app.command("certificate", short_help="Make a TLS certificate for a server that has none.")
def certificate(
    host: Annotated[str, typer.Argument(help="Name or address by which sites reach the server.")],
    out: Annotated[Path, typer.Option(help="Folder for HOST.pem and HOST.key.")] = Path(),
    json: AsJson = False,
) -> None:
    """Make a TLS certificate for a server that has none: HOST.pem goes to the sites as --ca, HOST.key stays.

    Example: edgedx federated certificate trial.example.org
    """
    from edgedx.lab.federated.keys import new_certificate

    made, secret = new_certificate(host, out)
    show.made({"certificate": made, "secret": secret}, "give the .pem to every site, as --ca", json=json)
