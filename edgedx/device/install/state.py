"""ROOT/state.json: what a device remembers outside of any bundle: highest versions, a trial, a short history."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgedx.core.errors import BundleError, GateRefused
from edgedx.core.files import read_regular, write_json
from edgedx.core.version import VERSION_PATTERN, version_key

STATE = "state.json"
MAX_EVENTS = 20

Slot = Literal["a", "b"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trial(_Strict):
    """An installation that no image has proven yet. It counts only while its slot is the active one."""

    slot: Slot
    digest: str
    starts: int = Field(0, ge=0, description="Scanners started on it that have not ended in order.")


class Event(_Strict):
    """Something that changed, or tried to change, the active slot."""

    at: str = Field(description="Wall clock, ISO 8601 UTC; display only.")
    action: Literal["install", "confirm", "rollback", "revert"]
    slot: Slot
    name: str
    version: str
    digest: str
    unsigned: bool = Field(False, description="Nobody's signature was asked for.")
    why: str = ""


class State(_Strict):
    """Content of state.json."""

    schema_version: Literal[1] = 1
    ratchet: dict[str, Annotated[str, Field(pattern=VERSION_PATTERN)]] = Field(
        {}, description="Bundle name to the highest version that was ever active."
    )
    trial: Trial | None = None
    history: list[Event] = []
    keys_required: bool = Field(False, description="A key was pinned once: without one nothing is taken any more.")

    def raised(self, name: str, version: str) -> State:
        """With the ratchet at `version` at least; it never goes down."""
        if name in self.ratchet and version_key(self.ratchet[name]) >= version_key(version):
            return self
        return self.model_copy(update={"ratchet": {**self.ratchet, name: version}})

    def with_event(self, event: Event) -> State:
        """With one more event; old ones are forgotten."""
        return self.model_copy(update={"history": [*self.history, event][-MAX_EVENTS:]})

    def with_keys_required(self) -> State:
        """With the knowledge that keys were pinned; it never goes away."""
        return self.model_copy(update={"keys_required": True})

    def with_trial(self, trial: Trial | None) -> State:
        """With this trial, or none."""
        return self.model_copy(update={"trial": trial})


def now() -> str:
    """Wall clock, ISO 8601 UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def read_state(root: Path) -> State:
    """The state of a device; an empty one where nothing was ever installed.

    Raises
    ------
    BundleError
        Damaged: nobody knows then what was the highest version.
    """
    path = root / STATE
    if not os.path.lexists(path):
        return State()
    try:
        return State.model_validate_json(read_regular(path, 1 << 20, follow=False, error=BundleError))
    except ValidationError as error:
        raise BundleError(
            f"{path} is damaged or of another version of edgedx",
            next_step=f"if you are sure of what is active, remove {path}: the highest version is that of the active "
            "bundle then",
        ) from error


def write_state(root: Path, state: State) -> None:
    """Replace state.json durably."""
    # What an edgedx of before November 2026 does not know is left out where it says nothing.
    hidden = set() if state.keys_required else {"keys_required"}
    write_json(root / STATE, state.model_dump(mode="json", exclude=hidden))


def check_not_older(
    name: str, version: str, ratchet: Mapping[str, str], active: tuple[str, str] | None, *, allow_older: bool
) -> None:
    """Refuse a version below the highest that was ever active.

    Parameters
    ----------
    ratchet : mapping
        Name to version, of `State`.
    active : (str, str) or None
        Name and version of the active bundle, which counts too: a kill may have come before it was recorded.
    allow_older : bool
        An operator's word; the ratchet stays where it is.

    Raises
    ------
    GateRefused
        It is older.
    """
    known = [ratchet[name]] if name in ratchet else []
    known += [active[1]] if active is not None and active[0] == name else []
    highest = max(known, key=version_key, default=version)
    if version_key(version) < version_key(highest) and not allow_older:
        raise GateRefused(
            f"{name} {version} is older than {highest}, which was active on this device",
            next_step="make the fixed model with a higher version; `edgedx rollback` goes back to the other slot; "
            "--allow-older takes this one all the same",
        )
