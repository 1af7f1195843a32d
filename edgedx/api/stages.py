"""The stages of the flow as functions: each does what the command of its name does, and repeats nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgedx.core.settings.recipe import Recipe
    from edgedx.core.stats.gate import Verdict
    from edgedx.lab.run.device_build import DeviceBuild
    from edgedx.lab.run.run import Run


def finetune(
    recipe: str | Path | Recipe,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    from_scratch: bool = False,
    overwrite: bool = False,
) -> Run:
    """Train the full model (teacher) by transfer learning.

    Parameters
    ----------
    recipe : str, Path or Recipe
        Name of a shipped recipe, a YAML file, or a recipe.
    out : path, optional
        Run folder; ``runs/NAME`` unless given. What is finished in it is not repeated, what was interrupted goes on.
    overrides : sequence of str
        ``key=value``, such as ``train.epochs=2``.

    Examples
    --------
    >>> run = edgedx.finetune("pneumonia-mnist", overrides=["train.epochs=2"])   # doctest: +SKIP
    """
    from edgedx.core.settings.recipe import Recipe, load_recipe
    from edgedx.lab.run.run import Run
    from edgedx.lab.train.finetune import finetune as work

    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe), list(overrides))
    run = Run(Path(out) if out is not None else Path("runs") / chosen.name)
    work(chosen, run, from_scratch=from_scratch, resume=True, overwrite=overwrite)
    run.keep_recipe(chosen)
    return run


def compress(
    run: str | Path | Run,
    *,
    device: str = "this",
    int8: bool | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
) -> DeviceBuild:
    """Prune and distil the teacher into a student, and compile it for one kind of device.

    Parameters
    ----------
    device : str
        Name of a device profile, or ``this`` machine.
    int8 : bool, optional
        Quantize to 8 bits; where the device has INT8 kernels unless given.
    """
    from edgedx.device.machine.match import profile_for
    from edgedx.lab.compress.compress import compress as work

    opened = _run(run)
    recipe, profile = opened.recipe(overrides), profile_for(device)
    quantize = profile.quantization.scheme != "float" if int8 is None else int8
    work(recipe, opened, profile, int8=quantize, resume=True, overwrite=overwrite)
    opened.keep_recipe(recipe)
    return opened.build(profile.name)


def gate(run: str | Path | Run, *, device: str | None = None, split: str | None = None) -> Verdict:
    """Judge what ships against its teacher; the verdict says whether it may, and why.

    Parameters
    ----------
    device : str, optional
        Device profile, where the run serves several.
    split : str, optional
        val or test; the recipe's unless given.
    """
    from edgedx.lab.data.prepare import open_data
    from edgedx.lab.judge.gate import Judge

    opened = _run(run)
    recipe = opened.recipe()
    return Judge(recipe, opened, open_data(recipe, opened), split or "").artifact(opened.path, device=device)


def deploy(
    run: str | Path | Run,
    *,
    device: str | None = None,
    sign: Sequence[str | Path] = (),
    force: bool = False,
    overwrite: bool = False,
) -> Path:
    """Gate what ships and write the bundle that a device installs; returns its path.

    Parameters
    ----------
    sign : sequence of path
        Private keys of `edgedx keys new`.
    force : bool
        Write it although the gate says no; the bundle records it.

    Raises
    ------
    GateRefused
        The model lost more than the recipe's budget.
    """
    from edgedx.core.bundle.manifest import sign_bundle
    from edgedx.core.bundle.signing import load_signing_key
    from edgedx.lab.ship.deploy import deploy as work
    from edgedx.lab.ship.deploy import profile_to_deploy

    keys = [load_signing_key(Path(key)) for key in sign]
    opened = _run(run)
    profile = profile_to_deploy(opened, device, None)
    work(opened.recipe(), opened, profile, force=force, overwrite=overwrite)
    bundle = opened.build(profile.name).bundle
    assert bundle is not None  # just written
    if keys:
        sign_bundle(bundle, keys)
    return bundle


def update(
    run: str | Path | Run,
    feedback: Sequence[str | Path],
    *,
    trust: Sequence[str | Path] = (),
    device: str | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    force: str | None = None,
) -> Run:
    """Learn from what clinics answered; `deploy` of the new run refuses where it may not replace the deployed model.

    Parameters
    ----------
    feedback : sequence of path
        Signed exports (.answers), or labelled images.
    trust : sequence of path
        Public keys of the clinics.
    device : str, optional
        Device profile, where the run serves several.
    overrides : sequence of str
        ``key=value``, such as ``update.method=distil``.
    force : str, optional
        Why it may ship although a check says no; recorded.
    """
    from edgedx.lab.update.update import plan_update
    from edgedx.lab.update.update import update as work

    plan = plan_update(
        _run(run).path,
        [Path(one) for one in feedback],
        trust=[Path(one) for one in trust],
        device=device,
        out=None if out is None else Path(out),
        overrides=overrides,
    )
    work(plan, force=force)
    return plan.after


def _run(path: str | Path | Run) -> Run:
    from edgedx.lab.run.run import Run

    return path if isinstance(path, Run) else Run.open(Path(path))
