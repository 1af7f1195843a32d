"""The one error tree. Every class has an exit code; every message names the next step.

::

    EdgedxError                 70  internal: a bug of ours
    ├── GateRefused              1  a gate said no (accuracy, parity, golden samples)
    ├── UsageError               2  the call is wrong
    │   ├── RecipeError             a recipe key or value
    │   ├── ProfileError            a device profile, or the wrong one
    │   ├── AlreadyExists           output is there and --overwrite was not given
    │   └── UnsupportedModel        a backbone that edgedx cannot train, prune or export
    ├── MissingError             3  hardware or software is not there
    │   ├── DependencyMissing       an optional package
    │   ├── WeightsMissing          pretrained weights, offline
    │   └── ProviderMissing         an execution provider, GPU or TensorRT
    ├── Stopped                130  Ctrl-C, where more can be told than that
    └── InputOutputError         5  files
        ├── DataError               a data set, its labels or its split
        ├── ImageError              one image; carries a reason code
        ├── FileGone                a file that was there once; carries its path
        ├── CheckpointError         a model folder
        ├── BundleError             a .edgedx file
        └── StorageError            disk full, read-only, no permission

Exit codes: 0 ok, 1 a gate said no, 2 usage, 3 missing, 5 input/output, 70 internal; 130 Ctrl-C, 141 nobody reads the
output. An exception that is none of these is a bug of ours: 70 (see `cli.exits`).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class EdgedxError(Exception):
    """Base of every error that edgedx raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, naming the file and the field.
    next_step : str, optional
        What the reader can do now, as an instruction or a command.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class GateRefused(EdgedxError):
    """A check on the artifact that would ship did not hold."""

    exit_code = 1


class UsageError(EdgedxError):
    """The command or call cannot be carried out as it was given."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe has an unknown key, a wrong value or a contradiction."""


class ProfileError(UsageError):
    """A device profile is unknown, malformed or not that of this device."""


class AlreadyExists(UsageError):
    """The output exists; edgedx does not overwrite without being told."""


class UnsupportedModel(UsageError):
    """The backbone is unknown, or known not to survive a step of the flow."""


class MissingError(EdgedxError):
    """Hardware or software that the step needs is not on this machine."""

    exit_code = 3


class DependencyMissing(MissingError):
    """An optional Python package is not installed. edgedx never installs one itself."""


class WeightsMissing(MissingError):
    """Pretrained weights are neither given, nor packaged, nor reachable."""


class ProviderMissing(MissingError):
    """The execution provider asked for is not there; falling back in silence is not done."""


class Stopped(EdgedxError):
    """Ctrl-C ended the work; the message says what is kept, the next step is the call that goes on."""

    exit_code = 130


class InputOutputError(EdgedxError):
    """A file could not be read or written."""

    exit_code = 5


class FileGone(InputOutputError):
    """A file that should be there is not; `path` is its name.

    What lies in a run has a command that makes it again (`lab.run.renew`); who prints the error names it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"no such file or folder: {path}", next_step="check the path")
        self.path = path


class DataError(InputOutputError):
    """A data set cannot be used: its files, labels, classes or split."""


class ImageError(InputOutputError):
    """One image cannot be read.

    Parameters
    ----------
    code : str
        Reason code in upper-case words, stable across releases (``BLANK``, ``TRUNCATED`` ...).
    message, next_step : str
        As in `EdgedxError`. The message never holds a value of a patient's header.
    """

    def __init__(self, code: str, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.code = code


class CheckpointError(InputOutputError):
    """A checkpoint folder is incomplete, of another version, or does not fit its model."""


class BundleError(InputOutputError):
    """A bundle is damaged, malformed or of a schema that this version does not read."""


class StorageError(InputOutputError):
    """The disk is full or cannot be written."""
