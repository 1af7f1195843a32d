"""``edgedx threshold``: what every threshold would mean at this site, and a threshold of the site's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedx.cli.options import AsJson, Threads

from . import show_threshold as show

if TYPE_CHECKING:
    from edgedx.device.threshold.cutoffs import Costs
    from edgedx.device.threshold.propose import Target

app = typer.Typer(
    help="What every threshold would mean at this site, and a threshold of the site's own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Model = Annotated[Path, typer.Argument(help="The --root that `edgedx install` was given, or a .edgedx file.")]
Site = Annotated[Path, typer.Argument(metavar="ROOT", help="The --root that `edgedx install` was given.")]
Data = Annotated[Path | None, typer.Option(help="Labelled images: a folder for each class, or a CSV (image,label).")]
Results = Annotated[Path | None, typer.Option(help="The --out of a scanner that has read the images; with --labels.")]
Labels = Annotated[Path | None, typer.Option(help="CSV (image,label) for --results; an image by its file name or key.")]
AnswersOf = Annotated[Path | None, typer.Option("--answers", help="The --out of a scanner whose page was answered.")]
Seen = Annotated[
    bool, typer.Option("--seen", help="With --answers: take those given after the model's answer was seen. Biased.")
]
Finding = Annotated[str | None, typer.Option("--class", help="The finding, where the model has several.")]
Prevalence = Annotated[
    float | None, typer.Option(help="Share of your patients who have it, 0 to 1; that of the images unless given.")
]
CostImage = Annotated[float, typer.Option(min=0.0, help="Cost of taking and reading an image.")]
CostTest = Annotated[float, typer.Option(min=0.0, help="Cost of the test after a positive answer.")]
CostMiss = Annotated[float, typer.Option(min=0.0, help="Cost of a missed case.")]
Sensitivity = Annotated[
    float | None, typer.Option(help="Choose: at least this sensitivity, with 95 % confidence, e.g. 0.95.")
]
Cheapest = Annotated[bool, typer.Option("--cheapest", help="Choose: the least cost of an image.")]
PerDay = Annotated[float | None, typer.Option(min=0.0, help="Choose: at most so many positive answers a day.")]
Images = Annotated[float | None, typer.Option(min=0.0, help="With --positives-per-day: images read a day.")]


@app.command("table", short_help="What every threshold would mean.")
def table(
    model: Model,
    data: Data = None,
    results: Results = None,
    labels: Labels = None,
    answers: AnswersOf = None,
    seen: Seen = False,
    finding: Finding = None,
    subgroup: Annotated[list[str] | None, typer.Option(help="Column of the CSV to judge by, too; repeatable.")] = None,
    prevalence: Prevalence = None,
    cost_image: CostImage = 0.0,
    cost_test: CostTest = 0.0,
    cost_miss: CostMiss = 0.0,
    csv: Annotated[Path | None, typer.Option(help="Write every threshold to this file.")] = None,
    threads: Threads = 0,
    json: AsJson = False,
) -> None:
    """Show what each threshold finds, misses, alarms and costs on your own labelled images. Nothing is changed.

    Example: edgedx threshold table /srv/edgedx --data labels.csv --subgroup sex --prevalence 0.08

    Intervals are 95 % (Wilson); images of one patient count as one in their width. The screen has some rows, --csv and
    --json every threshold.
    """
    from edgedx.core.files import write_text
    from edgedx.device.install.active import open_any
    from edgedx.device.threshold.cutoffs import check_prevalence
    from edgedx.device.threshold.evidence import class_of
    from edgedx.device.threshold.given import Given
    from edgedx.device.threshold.table import threshold_table

    groups = tuple(subgroup or ())
    given = Given(data, results, labels, answers, seen, groups, threads)
    costs = _costs(cost_image, cost_test, cost_miss)
    check_prevalence(prevalence)
    bundle = open_any(model)
    name = class_of(bundle.manifest, finding)
    found = threshold_table(bundle, given.evidence(bundle), name, subgroups=groups, prevalence=prevalence, costs=costs)
    if csv is not None:
        write_text(csv, found.csv())
    show.table(found, model, given, csv, synthetic=bundle.manifest.synthetic, json=json)


@app.command("propose", short_help="The threshold that reaches a target.")
def propose(
    model: Model,
    data: Data = None,
    results: Results = None,
    labels: Labels = None,
    answers: AnswersOf = None,
    seen: Seen = False,
    finding: Finding = None,
    sensitivity: Sensitivity = None,
    cheapest: Cheapest = False,
    positives_per_day: PerDay = None,
    images_per_day: Images = None,
    prevalence: Prevalence = None,
    cost_image: CostImage = 0.0,
    cost_test: CostTest = 0.0,
    cost_miss: CostMiss = 0.0,
    threads: Threads = 0,
    json: AsJson = False,
) -> None:
    """Find the threshold for a target on your own labelled images, and say what it would mean. Nothing is changed.

    Example: edgedx threshold propose /srv/edgedx --data labels.csv --sensitivity 0.95

    A sensitivity is promised with 95 % confidence: of 100 sites that choose so, 95 or more have it on their next
    patients, as long as these are such as those. Where there are too few patients to promise it, it says how many more.
    """
    from edgedx.core.bundle.local_point import point_of
    from edgedx.device.install.active import open_any
    from edgedx.device.threshold.evidence import class_of
    from edgedx.device.threshold.given import Given
    from edgedx.device.threshold.propose import propose as work

    given = Given(data, results, labels, answers, seen, (), threads)
    costs = _costs(cost_image, cost_test, cost_miss)
    target = _target(sensitivity, cheapest, positives_per_day, images_per_day, None, prevalence, costs)
    bundle = open_any(model)
    name = class_of(bundle.manifest, finding)
    evidence = given.evidence(bundle)
    found = work(evidence.finding(name), target, point_of(bundle).threshold.get(name))
    show.proposed(found, evidence, model, given, synthetic=bundle.manifest.synthetic, json=json)


@app.command("set", short_help="Put a threshold of the site's own in force.")
def set_(
    root: Site,
    data: Data = None,
    results: Results = None,
    labels: Labels = None,
    answers: AnswersOf = None,
    seen: Seen = False,
    finding: Finding = None,
    sensitivity: Sensitivity = None,
    cheapest: Cheapest = False,
    positives_per_day: PerDay = None,
    images_per_day: Images = None,
    value: Annotated[float | None, typer.Option(help="Choose: this very threshold, 0 to 1.")] = None,
    carry_over: Annotated[
        bool, typer.Option("--carry-over", help="Choose: that of the bundle before, judged on the same images again.")
    ] = False,
    prevalence: Prevalence = None,
    cost_image: CostImage = 0.0,
    cost_test: CostTest = 0.0,
    cost_miss: CostMiss = 0.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    confirm: Annotated[
        str | None, typer.Option(help="With --yes: the threshold that `propose` printed; another one is not set.")
    ] = None,
    threads: Threads = 0,
    json: AsJson = False,
) -> None:
    """Put a threshold of the site's own in force, once the gate has passed and a person has confirmed it twice.

    Example: edgedx threshold set /srv/edgedx --data labels.csv --sensitivity 0.95

    The bundle is not changed. The threshold belongs to this very bundle: after an update the new bundle's own is in
    force until one is chosen for it, or carried over. Every result says that it was decided at the site's own. It is
    recorded in ROOT/audit.jsonl. A scanner that runs must be restarted. Exits with 1 when the gate says no.
    """
    from edgedx.core.errors import UsageError
    from edgedx.device.operation.set_threshold import prepare, prepare_carry_over, set_local
    from edgedx.device.threshold.given import Given

    if yes != (confirm is not None):
        raise UsageError("--yes and --confirm belong together", next_step="give both, or neither to be asked")
    if json and not yes:
        raise UsageError("--json does not ask", next_step="add --yes --confirm THRESHOLD")
    given = Given(data, results, labels, answers, seen, (), threads)
    if carry_over:
        prepared = prepare_carry_over(root, given.evidence, finding)
    else:
        costs = _costs(cost_image, cost_test, cost_miss)
        target = _target(sensitivity, cheapest, positives_per_day, images_per_day, value, prevalence, costs)
        prepared = prepare(root, given.evidence, finding, target)
    if not json:
        show.prepared(prepared)
    typed = confirm if confirm is not None else show.confirmed(prepared)
    if typed is None:
        typer.echo("nothing was changed")
        raise typer.Exit(1)
    show.now_in_force(set_local(prepared, typed), prepared, json=json)


@app.command("show", short_help="Which threshold is in force, and who chose it.")
def show_(root: Site, json: AsJson = False) -> None:
    """Say which threshold is in force on a device, who chose it, on what and when.

    Example: edgedx threshold show /srv/edgedx
    """
    from edgedx.core.bundle.local_point import local_of, point_of
    from edgedx.device.operation.set_threshold import open_active

    bundle = open_active(root)
    show.in_force(bundle, point_of(bundle), local_of(bundle), json=json)


@app.command("clear", short_help="Go back to the bundle's own threshold.")
def clear(
    root: Site,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: AsJson = False,
) -> None:
    """Go back to the bundle's own threshold. A scanner that runs must be restarted.

    Example: edgedx threshold clear /srv/edgedx
    """
    from edgedx.device.operation.set_threshold import clear_local

    if not yes and not typer.confirm("Go back to the threshold that the model was delivered with?", err=True):
        typer.echo("nothing was changed")
        raise typer.Exit(1)
    show.cleared(clear_local(root), root, json=json)


def _costs(image: float, test: float, miss: float) -> Costs:
    from edgedx.device.threshold.cutoffs import Costs

    return Costs(image, test, miss)


def _target(
    sensitivity: float | None,
    cheapest: bool,
    positives: float | None,
    images: float | None,
    value: float | None,
    prevalence: float | None,
    costs: Costs,
) -> Target:
    from edgedx.core.errors import UsageError
    from edgedx.device.threshold.propose import Target

    chosen = [sensitivity is not None, cheapest, positives is not None, value is not None]
    if sum(chosen) != 1:
        raise UsageError(
            "one target is needed" if not any(chosen) else "these are several targets",
            next_step="--sensitivity 0.95, or --cheapest, or --positives-per-day N --images-per-day M",
        )
    if (positives is None) != (images is None):
        raise UsageError("--positives-per-day and --images-per-day belong together", next_step="give both")
    if sensitivity is not None:
        return Target("sensitivity", sensitivity, costs=costs, prevalence=prevalence)
    if value is not None:
        return Target("given", value, costs=costs, prevalence=prevalence)
    if positives is not None and images is not None:
        share = positives / images if images else 1.0
        return Target("positives", share, costs=costs, prevalence=prevalence, per_day=(positives, images))
    return Target("cost", costs=costs, prevalence=prevalence)
