"""A thousand devices that tell of themselves: statuses with real keys and signatures, ten of which need a call."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgedx.core.bundle.signing import SigningKey
from edgedx.device.fleet.status import ENDING, seal
from edgedx.device.fleet.summary import Summary

NOW = 1_795_900_000.0
_DIGESTS = {version: f"{int(version):064x}" for version in ("2", "3")}


def stamp(days_ago: float, now: float = NOW) -> str:
    """ISO 8601 UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 86400 * days_ago))


def summary(name: str, seed: int, **changes: Any) -> Summary:
    """A device that does well, with a little of everything that differs among such."""
    draw = random.Random(seed)
    jetson = seed % 3 == 0
    images = draw.randint(300, 6000)
    refused = int(images * draw.uniform(0.01, 0.07))
    said: dict[str, Any] = {
        "box": name,
        "sequence": draw.randint(5, 400),
        "written": stamp(draw.uniform(0.05, 2.5)),
        "clock_trusted": True,
        "edgedx": "0.1.0",
        "machine": {
            "label": "NVIDIA Jetson Orin Nano, 6 cores" if jetson else "Intel N100, 4 cores",
            "arch": "aarch64" if jetson else "x86_64",
            "memory_gb": 7.4 if jetson else 15.4,
            "power_mode": "15W" if jetson else None,
            "hottest_c": round(draw.gauss(52, 5), 1),
            "python": "3.11.2",
        },
        "model": {
            "name": "chest", "version": "3", "digest": _DIGESTS["3"], "variant": "int8",
            "profile": "orin-nano-8gb" if jetson else "intel-n100", "on_trial": False, "installed": stamp(20),
        },
        "ratchet": {"chest": "3"},
        "keys": ["90fb2b1847fbc16f", "12ab2b1847fbc16f"],
        "light": {"colour": "green", "code": "usual"},
        "scanner": {
            "running": True,
            "results": {"done ": images - refused, "refused MODALITY": refused - refused // 3,
                        "refused BLANK": refused // 3},
            "pending": draw.randint(0, 3), "oldest_pending_seconds": None,
            "seconds_per_image": round(draw.gauss(0.08 if jetson else 0.2, 0.01), 4),
            "disk_free": draw.randint(20, 90) << 30, "provider": "CPUExecutionProvider",
        },
        "troubles": [],
        "update": {"asked": stamp(1), "outcome": "current", "offered": "3", "timestamp_version": 9, "root_version": 1,
                   "expires": stamp(-60)},
    }  # fmt: skip
    for path, value in changes.items():
        place = said
        *folders, last = path.split("__")
        for folder in folders:
            place = place[folder]
        place[last] = value
    return Summary.model_validate(said)


ILL: dict[int, dict[str, Any]] = {
    17: {"light": {"colour": "red", "code": "foreign"}},
    101: {"troubles": ["SCANNER_DEAD"], "scanner__running": False},
    230: {"troubles": ["DISK_LOW", "STUCK"]},
    342: {"written": stamp(31)},
    411: {"written": stamp(12)},
    555: {"scanner__results": {"done ": 900, "refused MODALITY": 1400, "refused BODY_PART": 60}},
    603: {"scanner__seconds_per_image": 1.9, "machine__hottest_c": 97.5},
    777: {"model__version": "2", "model__digest": _DIGESTS["2"], "update__outcome": "unreachable-or-refused"},
    888: {"model__version": "2", "model__digest": _DIGESTS["2"], "update__outcome": ""},
}
"""Nine that need a call, by number; the tenth, 999, never sent anything."""


def write_boxes(folder: Path, count: int = 1000, *, ill: Callable[[int], dict[str, Any]] | None = None) -> None:
    """Write ``statuses/`` and ``boxes/`` (public keys) of so many devices."""
    (folder / "statuses").mkdir(parents=True)
    (folder / "boxes").mkdir()
    for number in range(count):
        name = f"clinic-{number:04d}"
        key = SigningKey(name, Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big")))
        (folder / "boxes" / f"{name}.pub").write_text(key.public.line())
        if number != 999:
            data = seal(summary(name, number, **(ill or (lambda n: ILL.get(n, {})))(number)), key)
            (folder / "statuses" / f"{name}{ENDING}").write_bytes(data)
