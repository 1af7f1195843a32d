"""Long commands: what they tell is kept in a log, and Ctrl-C says what is kept and which command goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from .common import command_line

AS_BEFORE = "finished parts are kept"
NOTHING = "nothing is kept: it writes at its end, all at once"


@contextmanager
def at_work(
    folder: Path | None = None,
    kept: Callable[[], str] | str = AS_BEFORE,
    *,
    resume: bool = False,
    begun: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the body of a long command.

    Parameters
    ----------
    folder : Path, optional
        Gets ``log.txt``: what the command tells, with times.
    kept : str or callable
        What a stopped call leaves, in words.
    resume : bool
        The command has ``--resume``, and continues only with it.
    begun : callable
        Whether ``--overwrite`` was obeyed already: what goes on then must not begin again.

    Raises
    ------
    Stopped
        In the place of KeyboardInterrupt.
    """
    from contextlib import nullcontext

    from edgedx.core.errors import Stopped
    from edgedx.core.log import LOG, log_into, note

    with log_into(folder / LOG) if folder is not None else nullcontext():
        note(f"edgedx {' '.join(sys.argv[1:2])}")  # the command alone: its arguments may name a patient's file
        try:
            yield
        except KeyboardInterrupt:
            left = kept if isinstance(kept, str) else kept()
            raise Stopped(f"stopped: {left}", next_step=again(sys.argv[1:], resume=resume, begun=begun())) from None


def run_at_work(run: Path, *stages: Path, resume: bool = False) -> AbstractContextManager[None]:
    """`at_work` on a run: the finished stages and the training states in it are what is kept."""
    from edgedx.lab.run.kept import begun, kept

    return at_work(run, lambda: kept(run), resume=resume, begun=lambda: begun(*stages))


def again(words: Sequence[str], *, resume: bool, begun: bool) -> str:
    """The call that goes on where this one was stopped.

    Examples
    --------
    >>> again(["finetune", "chest x.yaml", "--overwrite"], resume=True, begun=True)
    "edgedx finetune 'chest x.yaml' --resume"
    """
    kept = [word for word in words if not (begun and word == "--overwrite")]
    more = ["--resume"] if resume and not {"--resume", "--overwrite"} & set(kept) else []
    return command_line(*kept, *more)
