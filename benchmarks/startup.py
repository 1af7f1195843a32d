"""`edgedx --help` against importing typer and rich, as whole processes by turns; and what it imports.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from edgedx.lab.run.stage import machine

ROUNDS = 15
COMMANDS = {
    "help": [sys.executable, "-m", "edgedx", "--help"],
    "imports": [sys.executable, "-c", "import typer, rich"],
}


def main() -> None:
    """Run both commands by turns and print medians and the ratio."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if round_:  # the first round warms the disk cache
                times[name].append(time.perf_counter() - begun)
    ratios = [one / other for one, other in zip(times["help"], times["imports"], strict=True)]
    for name, values in times.items():
        low, middle, high = (1e3 * value for value in (min(values), statistics.median(values), max(values)))
        print(f"{name:<8} median {middle:.0f} ms, {low:.0f} to {high:.0f}")
    print(f"ratio    median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f} ({machine()})")


if __name__ == "__main__":
    main()
