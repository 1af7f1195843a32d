"""Is a bundle made for this kind of machine? A pure decision on the facts of `hardware`.

Only what cannot work at all is refused here: instruction set, board, GPU. Whether this very machine computes the
right values is not guessed from names but proven by golden samples.
"""

from __future__ import annotations

from edgedx.core.bundle.manifest import Manifest
from edgedx.core.errors import ProfileError
from edgedx.core.settings.profile import DeviceProfile

from .hardware import Hardware


def check_device(manifest: Manifest, hardware: Hardware, profile: DeviceProfile | None) -> None:
    """Refuse a bundle for another kind of machine.

    Parameters
    ----------
    profile : DeviceProfile or None
        The one that the manifest names; where it is not known here, the target alone decides.

    Raises
    ------
    ProfileError
        Says what the bundle needs and what is here.
    """
    here = f"this machine has {hardware.label()} ({hardware.arch})"
    if profile is not None and profile.arch != hardware.arch:
        raise _wrong(manifest, f"needs an {profile.arch} processor; {here}")
    if manifest.target == "jetson" and hardware.jetson is None:
        raise _wrong(manifest, f"needs a Jetson; {here}")
    if manifest.target == "rtx":
        least = profile.gpu.sm if profile is not None and profile.gpu is not None else "0.0"
        if not any(gpu.sm is None or _number(gpu.sm) >= _number(least) for gpu in hardware.gpus):
            raise _wrong(manifest, f"needs an NVIDIA GPU of compute capability {least} or higher; {here}")


def _wrong(manifest: Manifest, why: str) -> ProfileError:
    return ProfileError(
        f"{manifest.name} {manifest.version} was made for {manifest.profile}: it {why}",
        next_step="take the bundle for this device (`edgedx devices match` names its profile); --any-device installs "
        "it all the same, if a variant that runs here is named with --variant",
    )


def _number(sm: str) -> tuple[int, ...]:
    return tuple(int(piece) for piece in sm.split("."))
