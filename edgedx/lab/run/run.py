"""A run folder, and the only code that knows what its files are called.

    runs/NAME/recipe.yaml                     the effective recipe
    runs/NAME/log.txt                         what the commands told, with times (`core.log`)
    runs/NAME/data/                           the data set as training reads it
    runs/NAME/teacher/, student/              trained models (`ModelFolder`)
    runs/NAME/devices/PROFILE/variants/       the student compiled for one kind of device (`DeviceBuild`)
    runs/NAME/devices/PROFILE/bundle/         what that device installs
    runs/NAME/devices/PROFILE/gate/           the last verdict on it
    runs/NAME/update.json, CHANGES.md         of a run that updates another one (`updated`)
    runs/NAME/devices/PROFILE/update/         whether it may replace the model that is deployed

Each folder with a ``stage.json`` is a stage (`stage.Stage`). One run serves a fleet of different devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from edgedx.core.errors import CheckpointError, UsageError
from edgedx.core.files import write_text
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.text import command_line

from .card import CARD
from .device_build import DeviceBuild
from .model_folder import ModelFolder
from .renew import RECIPE as RECIPE
from .stage import RECORD

_OLD = ("int8", "onnx")  # where edgedx kept variants until there were devices


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes
    ----------
    path : Path
        ``runs/NAME``; nothing in it need exist yet.
    """

    path: Path

    @classmethod
    def of(cls, path: Path | Run) -> Run:
        """The run at `path`, given itself or one of its stages (``runs/x`` or ``runs/x/teacher``)."""
        if isinstance(path, Run):
            return path
        return cls(path) if (path / RECIPE).is_file() else cls.around(path) or cls(path)

    @classmethod
    def around(cls, path: Path) -> Run | None:
        """The run that a folder or file lies in, or is; None where there is none.

        A candidate of a search or a fold has a folder like a run's inside another run: the nearest counts.
        """
        places = [path, *path.parents, *path.absolute().parents]  # as it was spelt, where that is enough
        return next((cls(folder) for folder in places if (folder / RECIPE).is_file()), None)

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run at `path`.

        Raises
        ------
        UsageError
            There is none.
        """
        run = cls.of(path)
        if not run.exists:
            next_step = "begin one with `edgedx finetune RECIPE`"
            if (path / "teacher").is_dir():
                again = command_line("finetune", "RECIPE", "--out", path)
                next_step = f"{again}, with the recipe of then, writes it again"
            raise UsageError(f"{path} is not a run: no {RECIPE}", next_step=next_step)
        return run

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Last part of its path."""
        return self.path.name

    @property
    def exists(self) -> bool:
        """Whether it was begun."""
        return (self.path / RECIPE).is_file()

    # Recipe

    def recipe(self, overrides: Sequence[str] = ()) -> Recipe:
        """The recipe that the run was begun with, under `overrides` (``key=value``)."""
        return load_recipe(str(self.path / RECIPE), list(overrides))

    def keep_recipe(self, recipe: Recipe) -> Path:
        """Write the effective recipe beside the stages, for the commands that follow, and return its path."""
        text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_text(self.path / RECIPE, text)
        return self.path / RECIPE

    # Stages

    @property
    def data(self) -> Path:
        """Folder of the data set."""
        return self.path / "data"

    @property
    def teacher(self) -> ModelFolder:
        """The full model."""
        return ModelFolder(self.path / "teacher")

    @property
    def student(self) -> ModelFolder:
        """The small model, in FP32, which all devices share."""
        return ModelFolder(self.path / "student")

    @property
    def trained(self) -> list[ModelFolder]:
        """Teacher and student, as far as their checkpoints are there."""
        return [model for model in (self.teacher, self.student) if (model.path / CARD).is_file()]

    # Devices

    def build_for(self, profile: str) -> DeviceBuild:
        """What the run holds, or will hold, for the device profile called `profile`."""
        return DeviceBuild(self.path / "devices" / profile)

    @property
    def builds(self) -> list[DeviceBuild]:
        """What was compiled and finished, by name of the device profile.

        Raises
        ------
        CheckpointError
            The run was compressed by an edgedx that kept one device's variants only.
        """
        builds = [DeviceBuild(path.parent.parent) for path in sorted(self.path.glob(f"devices/*/variants/{RECORD}"))]
        old = [name for name in _OLD if (self.path / name / RECORD).is_file()]
        if old and not builds:
            raise CheckpointError(
                f"{self.path / old[0]} was compressed by an older edgedx, which kept the variants of one device only",
                next_step=f"{command_line('compress', self.path)}    (the student stays, its variants are made again)",
            )
        return builds

    def build(self, profile: str | None = None) -> DeviceBuild:
        """The finished build for `profile`; the only one unless given.

        Raises
        ------
        UsageError
            Nothing is compressed yet, not for this profile, or for several and none was named.
        """
        builds = self.builds
        if not builds:
            raise UsageError(f"{self.path} holds no compressed model", next_step=command_line("compress", self.path))
        if profile is None:
            if len(builds) > 1:
                raise UsageError(
                    f"{self.path} is compressed for {' and '.join(one.profile for one in builds)}",
                    next_step=f"name one: --device {builds[0].profile}",
                )
            return builds[0]
        for one in builds:
            if one.profile == profile:
                return one
        raise UsageError(
            f"{self.path} is compressed for {', '.join(one.profile for one in builds)}, not for {profile}",
            next_step=command_line("compress", self.path, "--device", profile),
        )

    def build_of(self, path: Path, profile: str | None = None) -> DeviceBuild:
        """The build that a file lies in; for all else `build`."""
        around = [one for one in self.builds if one.path.resolve() in path.resolve().parents]
        return around[0] if around else self.build(profile)

    def bundle(self, profile: str | None = None) -> Path:
        """The bundle of what ships to `profile`; the only one unless given.

        Raises
        ------
        UsageError
            There is none of what is compressed now, or several and none was named.
        """
        build = self.build(profile)
        if build.bundle is None:
            raise UsageError(
                f"{build} holds no bundle of what is compressed", next_step=command_line("deploy", self.path)
            )
        return build.bundle

    def models(self, profile: str | None = None) -> list[Path]:
        """Paths of all that can be asked: teacher, student, and the variant that ships where one is compressed.

        Raises
        ------
        UsageError
            No model yet, or several devices and none was named.
        """
        trained = [model.path for model in self.trained]
        if not trained:
            raise UsageError(f"{self.path} has no model yet", next_step="edgedx finetune RECIPE")
        return [*trained, *([self.build(profile).shipped.path] if self.builds or profile else [])]
