"""Seven kinds of real images, the whole way: teacher, student, INT8, floors, speed, worse images, foreign images.

    python benchmarks/modalities.py                        # on a CPU: 96 pixels, few epochs, first seeds first
    python benchmarks/modalities.py --sets skin brain --seeds 0 --parts models bench
    python benchmarks/modalities.py --side 0 --seen 0 --student-seen 0     # the recipes' own, three seeds: for a GPU
    python benchmarks/modalities.py --report               # no work: JSON, page and picture from what is there

A set is a recipe in ``benchmarks/modalities/``. Test images are of groups (patients, lesions, clusters of like images)
that training never saw. Sets of fewer than 900 images are cut into five folds, which are judged together; the others
are trained once for each seed, on one split. Parts, in the order of their use, each done for all sets before the next:

- models: teacher, the other members of its committee, student, INT8 for x86 and in TensorRT's scheme (simulated in
  float), classical baselines and the floor (frozen features of the pretrained backbone, logistic regression), of the
  first seed or fold;
- bench: their latency and that of ResNet-50 at the same input, by turns in one run;
- alone: the same student trained without a teacher, and the teacher from random weights, of the first seed or fold;
- more: models of the other seeds and folds;
- robustness: five strengths of six corruptions, and whether images of every other set are noticed as foreign.

Every unit of work is an ordinary run in ``RUNS-SIDE/SET/REPEAT``, whose finished stages are read, not repeated: kill it
at any time and give the same command again. After each unit it writes ``benchmarks/results/modalities.json``,
``docs/modalities.md`` and ``docs/modalities.png``. Needs EDGEDX_DATA with the sets that it is given.
"""

from __future__ import annotations

import argparse
import math
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import modalities_figures as figures
import modalities_page as page

from edgedx.cli.common import profile_for
from edgedx.core.files import write_json
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.table import read_table
from edgedx.lab.compress.compress import compress
from edgedx.lab.data.reading.rows import locate
from edgedx.lab.evidence.bench import bench, contenders_of, write_bench
from edgedx.lab.evidence.compare.baselines import baselines
from edgedx.lab.evidence.robustness.files import REPORT as ROBUSTNESS
from edgedx.lab.evidence.robustness.files import write_robustness
from edgedx.lab.evidence.robustness.robustness import finished, robustness
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.finetune import finetune

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "modalities.json", HERE.parent / "docs" / "modalities.md"
ORDER = ("kermany", "skin", "brain", "breast", "fundus", "ct-lung", "chest3", "covid", "ct-contrast")
PARTS = ("models", "bench", "alone", "more", "robustness")
TENSORRT, FULL_MODEL = "orin-nano-8gb", "resnet50"
TRAINED_SHARE = 0.7
FEW = 1000
"""Images; below, other members than above were better together on val (docs/better-teachers.md)."""


@dataclass(frozen=True)
class Plan:
    """How everything is trained.

    Attributes
    ----------
    side : int
        Of the network's input, pixels; 0: as the recipe says.
    seen : int
        Images that the teacher sees at most, over all epochs; 0: as the recipe says.
    student_seen : int
        The same of the student, which has to learn with fewer weights and is taught patiently.
    committee : bool
        The student learns the mean of three teachers: the recipe's own and two that were trained otherwise.
    """

    runs: Path
    side: int
    seen: int
    student_seen: int
    overrides: tuple[str, ...]
    committee: bool = True

    @property
    def folder(self) -> Path:
        """``runs/modalities-96``."""
        return self.runs.with_name(f"{self.runs.name}-{self.side or 'full'}")


@dataclass(frozen=True)
class Repeat:
    """One seed or fold of a set: a run."""

    plan: Plan
    name: str
    number: int
    kind: str = ""

    @property
    def run(self) -> Run:
        """Its run folder."""
        return Run(self.plan.folder / self.name / (f"{self.number}-{self.kind}" if self.kind else str(self.number)))

    @property
    def scratch(self) -> Run:
        """The run of the teacher from random weights."""
        return replace(self, kind="scratch").run

    @property
    def others(self) -> list[Repeat]:
        """Of the committee: what differs makes several better than each (Wenzel et al. 2020)."""
        if not self.plan.committee:
            return []
        rate = self.recipe.train.learning_rate
        if self.images < FEW:
            changes = {
                "slow": [f"train.learning_rate={rate / 2}"],
                "head": ["train.frozen_epochs=15", "train.epochs=0"],
            }
        else:
            changes = {"mixup": ["augment.mixup=0.2"], "again": [f"train.seed={self.recipe.train.seed + 100}"]}
        plans = {kind: replace(self.plan, overrides=(*self.plan.overrides, *own)) for kind, own in changes.items()}
        return [replace(self, plan=plan, kind=kind) for kind, plan in plans.items()]

    @property
    def teachers(self) -> list[Path]:
        """Checkpoints of the others."""
        return [one.run.teacher.path for one in self.others]

    @cached_property
    def images(self) -> int:
        """Of the whole set."""
        data = recipe_of(self.name).data
        return len(read_table(locate(str(data.path)) / data.csv)[0])

    @cached_property
    def recipe(self) -> Recipe:
        """With what this plan changes."""
        plain = recipe_of(self.name)
        changes = [f"data.fold={self.number}" if plain.data.folds else f"train.seed={self.number}"]
        if self.plan.side:
            changes.append(f"preprocess.size=[{self.plan.side},{self.plan.side}]")
        trained = TRAINED_SHARE * self.images
        for seen, whose in ((self.plan.seen, "train"), (self.plan.student_seen, "student")):
            if seen:
                most = max(1, math.ceil(seen / trained))
                changes.append(f"{whose}.epochs={min(getattr(plain, whose).epochs, most)}")
        others = [f"{recipe_of(name).data.path}/images" for name in ORDER if name != self.name]
        changes.append(f"foreign.far=[{', '.join(others)}, photographs, noise]")
        return load_recipe(str(path_of(self.name)), [*changes, *self.plan.overrides])


def path_of(name: str) -> Path:
    """The recipe of a set."""
    return HERE / "modalities" / f"{name}.yaml"


def recipe_of(name: str) -> Recipe:
    """As it is written."""
    return load_recipe(str(path_of(name)))


def repeats_of(name: str, plan: Plan, seeds: list[int]) -> list[Repeat]:
    """All folds of a small set, the seeds of a large one."""
    folds = recipe_of(name).data.folds
    return [Repeat(plan, name, number) for number in (range(folds) if folds else seeds)]


def units(options: argparse.Namespace, plan: Plan) -> Iterator[tuple[str, Repeat]]:
    """What is to be done, the most telling first."""
    for part in PARTS:
        if part not in options.parts:
            continue
        for name in options.sets:
            first, *others = repeats_of(name, plan, options.seeds)
            for repeat in others if part == "more" else [first]:
                yield part, repeat


def work(part: str, repeat: Repeat) -> None:
    """Do one unit; what is finished is only read."""
    recipe, run = repeat.recipe, repeat.run
    if part in ("models", "more"):
        train(repeat)
    if part == "bench" and not (run.path / "bench.json").is_file():
        paths = [run.teacher.path, *(figures.variants(run)[name].path for name in ("fp32", figures.SHIPPED))]
        rows = bench(contenders_of([*map(str, paths), FULL_MODEL]), seconds=recipe.bench.seconds)
        write_bench(rows, run.path, recipe.title)
    if part == "alone":
        repeat.scratch.keep_recipe(recipe)
        finetune(recipe, repeat.scratch, from_scratch=True, resume=True)
        compress(recipe, run, profile_for("this"), int8=True, ablate=True, teachers=repeat.teachers, resume=True)
    if part == "robustness" and not (run.path / ROBUSTNESS).is_file():
        subjects = [open_subject(path) for path in (run.teacher.path, figures.variants(run)[figures.SHIPPED].path)]
        found = robustness(subjects, folder=run.path)
        write_robustness(found, run.path)
        finished(run.path)
    figures.judge(run, repeat.scratch, [one.run for one in repeat.others])


def train(repeat: Repeat) -> None:
    """Teachers, student, its INT8 forms, and the baselines."""
    recipe, run = repeat.recipe, repeat.run
    for one in (repeat, *repeat.others):
        one.run.keep_recipe(one.recipe)
        finetune(one.recipe, one.run, resume=True)
    for device in ("this", TENSORRT):
        compress(recipe, run, profile_for(device), int8=True, teachers=repeat.teachers, resume=True)
    baselines(recipe, run.path)


def figures_of(plan: Plan, seeds: list[int]) -> dict[str, Any]:
    """Of every set of which something is judged."""
    found = {}
    for name in ORDER:
        there = [one.run for one in repeats_of(name, plan, seeds) if figures.judged(one.run)]
        if there:
            found[name] = figures.of_set(recipe_of(name), there, plan.folder / name / "together")
    return found


def report(options: argparse.Namespace, plan: Plan) -> None:
    """Figures of all that is there, on disk and as a page."""
    sets = figures_of(plan, options.seeds)
    figures.correct(sets)
    folders = plan.folder.parent.glob(f"{plan.runs.name}-*")
    sides = sorted(side for path in folders if path != plan.folder and (side := path.name.rpartition("-")[2]).isdigit())
    found = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "side": plan.side or "as in the recipes",
        "seen": plan.seen or "as in the recipes",
        "student_seen": plan.student_seen or "as in the recipes",
        "overrides": list(plan.overrides),
        "committee": plan.committee,
        "sets": sets,
        "other_sides": {side: figures_of(replace(plan, side=int(side)), options.seeds) for side in sides},
    }
    write_json(RESULT, found)
    page.write(found, PAGE)


def main() -> None:
    """Work through the units; one that fails is told, and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=ORDER, default=list(ORDER))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of sets that are not cut into folds")
    parser.add_argument("--side", type=int, default=96, help="pixels; 0: the recipes' own")
    parser.add_argument("--seen", type=int, default=6000, help="images that a teacher sees; 0: as the recipes say")
    parser.add_argument("--student-seen", type=int, default=12000, help="the same of a student")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--runs", type=Path, default=Path("runs/modalities"))
    parser.add_argument("--one-teacher", action="store_true", help="no committee: the student learns from one")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--report", action="store_true", help="write JSON and page, and do no work")
    options = parser.parse_args()
    plan = Plan(
        options.runs,
        options.side,
        options.seen,
        options.student_seen,
        tuple(options.overrides),
        not options.one_teacher,
    )
    failed = []
    for part, repeat in [] if options.report else units(options, plan):
        begun = time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} {part} {repeat.name} {repeat.number}", flush=True)
        try:
            work(part, repeat)
        except Exception as error:  # a night's work does not end with one of its units
            failed.append(f"{part} {repeat.name} {repeat.number}: {type(error).__name__}: {error}")
            traceback.print_exc()
            print(f"failed: {failed[-1]}", flush=True)
            continue
        report(options, plan)
        print(f"{time.strftime('%H:%M:%S')} done in {time.monotonic() - begun:.0f} s", flush=True)
    report(options, plan)
    print(*failed, sep="\n")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
