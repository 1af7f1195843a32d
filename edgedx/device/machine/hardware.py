"""Facts about this machine, read without torch. The root of the file system is a parameter: tests read recordings."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.settings.jetpack import jetpack_of
from edgedx.core.settings.profile import CPU_FEATURES

_SMI_FIELDS = "name,compute_cap,memory.total,driver_version"
_SMI_TIMEOUT_S = 10.0  # a wedged driver makes nvidia-smi hang for ever

# (CPU implementer, CPU part) of /proc/cpuinfo -> core; from arch/arm64/include/asm/cputype.h of Linux.
_ARM_CORES = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd83"): "Neoverse-V3AE",
    ("0x4e", "0x003"): "Denver 2",
    ("0x4e", "0x004"): "Carmel",
}


@dataclass(frozen=True)
class Processor:
    """The processor: its name, cores that are switched on, and the features that choose INT8 kernels."""

    model: str
    cores: int
    logical_cores: int
    features: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """A board with a device tree: its name, and the ``compatible`` strings that name module and chip."""

    model: str
    compatible: tuple[str, ...]


@dataclass(frozen=True)
class Jetson:
    """Software of a Jetson: L4T release, JetPack major.minor, names of the power modes. None, empty: not found."""

    l4t: str | None
    jetpack: str | None
    power_modes: tuple[str, ...]


@dataclass(frozen=True)
class NvidiaGpu:
    """One GPU that nvidia-smi reports; memory in 2^30 bytes, None where it shares the machine's."""

    name: str
    sm: str | None
    memory_gb: float | None
    driver: str


@dataclass(frozen=True)
class Hardware:
    """What this machine is. Memory and disk in 2^30 bytes; None is unknown."""

    os: str
    kernel: str
    arch: str
    cpu: Processor
    memory_gb: float | None
    board: Board | None
    jetson: Jetson | None
    gpus: tuple[NvidiaGpu, ...]
    disk_free_gb: float | None

    def label(self) -> str:
        """The machine in a few words, for records of latency; no host name, no serial number."""
        board = f"{self.board.model}, " if self.board else ""
        gpus = "".join(f", {gpu.name}" for gpu in self.gpus)
        return f"{board}{self.cpu.model}, {self.cpu.cores} cores{gpus}, {self.os}"


def read_hardware(
    root: Path = Path("/"), *, folder: Path | None = None, nvidia_smi: Callable[[], str | None] | None = None
) -> Hardware:
    """Read the facts of a machine.

    Parameters
    ----------
    root : Path
        Root of its file system; another than ``/`` is a recorded machine.
    folder : Path, optional
        Where the free disk space is taken; `root` unless given.
    nvidia_smi : callable, optional
        Returns the text of nvidia-smi (`run_nvidia_smi`) or None. Recorded machines have none unless given.
    """
    text = _read(root / "proc/cpuinfo")
    here = root == Path("/")
    arch = _arch(text)
    cpu = parse_cpuinfo(text)
    if here and (emulated := _machine()) != arch:
        # qemu-user runs programs of another instruction set, and /proc/cpuinfo stays that of the machine below.
        arch, cpu = emulated, Processor(f"{emulated} emulated on {cpu.model}", cpu.cores, cpu.logical_cores, ())
    if nvidia_smi is None:
        nvidia_smi = run_nvidia_smi if here else lambda: None
    board = _board(root)
    is_jetson = (root / "etc/nv_tegra_release").is_file() or (
        board is not None and any(item.startswith("nvidia,tegra") for item in board.compatible)
    )
    return Hardware(
        os=_os(root),
        kernel=_read(root / "proc/sys/kernel/osrelease").strip() or platform.release(),
        arch=arch,
        cpu=cpu,
        memory_gb=_memory_gb(root),
        board=board,
        jetson=_jetson(root) if is_jetson else None,
        gpus=parse_nvidia_smi(nvidia_smi() or ""),
        disk_free_gb=_disk_free_gb(folder or root),
    )


def run_nvidia_smi() -> str | None:
    """Text of nvidia-smi, one GPU a line; None where it is not installed, fails or hangs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def parse_nvidia_smi(text: str) -> tuple[NvidiaGpu, ...]:
    """GPUs from the text of `run_nvidia_smi`. On a Jetson several fields read ``[N/A]``."""
    gpus = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != len(_SMI_FIELDS.split(",")):
            continue
        name, sm, memory_mib, driver = fields
        gpus.append(
            NvidiaGpu(
                name=name,
                sm=sm if re.fullmatch(r"\d+\.\d", sm) else None,
                memory_gb=round(int(memory_mib) / 1024, 1) if memory_mib.isdigit() else None,
                driver=driver,
            )
        )
    return tuple(gpus)


def parse_cpuinfo(text: str) -> Processor:
    """Name, cores and INT8 features from the text of /proc/cpuinfo, of x86 or ARM.

    A feature counts only where every core has it. Without readable text the name is that of the platform module.
    """
    blocks = [dict(_pairs(block)) for block in re.split(r"\n\s*\n", text) if re.search(r"^processor\s*:", block, re.M)]
    flags = [set((block.get("flags") or block.get("Features") or "").split()) for block in blocks]
    common = set.intersection(*flags) if flags else set()
    # A hypervisor may leave the topology out; then each logical core counts.
    places = {(block.get("physical id", "0"), block.get("core id", block["processor"])) for block in blocks}
    return Processor(
        model=_cpu_model(blocks),
        cores=len(places) or 1,
        logical_cores=len(blocks) or 1,
        features=tuple(feature for feature in CPU_FEATURES if feature in common),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _pairs(block: str) -> Iterable[tuple[str, str]]:
    for line in block.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()


def _cpu_model(blocks: list[dict[str, str]]) -> str:
    names: list[str] = []
    for block in blocks:
        # Jetsons print "ARMv8 Processor rev 1 (v8l)" as the model name: the part number says more.
        core = _ARM_CORES.get((block.get("CPU implementer", ""), block.get("CPU part", "")))
        name = core or block.get("model name", "")
        if name and name not in names:
            names.append(name)
    return " + ".join(names) or platform.processor() or platform.machine()


def _arch(cpuinfo: str) -> str:
    if re.search(r"^CPU implementer\s*:", cpuinfo, re.M):
        return "aarch64"
    if re.search(r"^vendor_id\s*:", cpuinfo, re.M):
        return "x86_64"
    return _machine()


def _machine() -> str:
    machine = platform.machine()
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def _os(root: Path) -> str:
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read(root / "etc/os-release"), re.M)
    return match[1] if match else f"{platform.system()} {platform.release()}"


def _memory_gb(root: Path) -> float | None:
    match = re.search(r"^MemTotal:\s*(\d+) kB", _read(root / "proc/meminfo"), re.M)
    return round(int(match[1]) / (1 << 20), 2) if match else None


def _board(root: Path) -> Board | None:
    tree = root / "proc/device-tree"
    model = _read(tree / "model").replace("\0", "").strip()
    compatible = tuple(item for item in _read(tree / "compatible").split("\0") if item.strip())
    return Board(model, compatible) if model or compatible else None


def _jetson(root: Path) -> Jetson:
    match = re.search(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", _read(root / "etc/nv_tegra_release"))
    l4t = f"{match[1]}.{match[2]}" if match else None
    modes = re.findall(r"^<\s*POWER_MODEL\s+ID=\d+\s+NAME=(\S+?)\s*>", _read(root / "etc/nvpmodel.conf"), re.M)
    return Jetson(l4t, jetpack_of(l4t) if l4t else None, tuple(modes))


def _disk_free_gb(folder: Path) -> float | None:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent  # a folder still to be made will be on the disk of the one above
    try:
        return round(shutil.disk_usage(folder).free / (1 << 30), 1)
    except OSError:
        return None
