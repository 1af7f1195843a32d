"""Options that several commands have: written once, so that one word has one meaning everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field of the recipe, e.g. train.epochs=3; repeatable.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what was interrupted.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Device = Annotated[
    str, typer.Option(help="Device profile (`edgedx devices list`) or a .yaml file of one; this: this machine.")
]
Int8 = Annotated[
    bool | None,
    typer.Option("--int8/--no-int8", help="8-bit integers beside float; where the device has them unless given."),
]
Root = Annotated[Path, typer.Option(help="Folder of the device that holds what is installed, trusted keys and state.")]
On = Annotated[str, typer.Option(help="Where PyTorch runs checkpoints: cpu, cuda, or auto: a GPU where there is one.")]
OnCluster = Annotated[
    str, typer.Option("--on", help="Where the work runs: local, ray, ray://HOST:10001, slurm or slurm:PARTITION.")
]
Cores = Annotated[int, typer.Option(min=1, help="Cores that each piece of work takes on a cluster.")]
Jobs = Annotated[
    int, typer.Option(min=0, help="Processes at the same time on this machine; 0: as its GPUs and cores allow.")
]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")]
Resamples = Annotated[int, typer.Option(min=100, help="Bootstrap resamples of patients for the intervals.")]
Run = Annotated[Path | None, typer.Option(help="Run whose data set to use, for models that lie in none.")]
Split = Annotated[str, typer.Option(help="Part of the run's data set to judge on: test, val or train.")]
ValOrTest = Annotated[str, typer.Option(help="Part of the run's data set to judge on: test or val.")]

SPLITS = ("test", "val", "train")
OfDevice = Annotated[
    str | None, typer.Option("--device", help="Device profile, where the run is compressed for several.")
]
