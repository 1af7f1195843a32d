"""A decoder that is killed while it starts is started again: the kernel's out-of-memory killer picks it first.

Reported by an attack: SIGKILL of a starting decoder ended the scanner.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bundles import SPEC, png
from places import Place

from edgedx.core.errors import MissingError
from edgedx.device.decode.decoder import Decoder, DecoderNotStarting

DIES = "import os, sys, pathlib; p = pathlib.Path(sys.argv[1]); n = int(p.read_text()); p.write_text(str(n + 1))\n"
GREETS = 'sys.stdout.buffer.write(b"\\0\\0\\0\\x0f" + b\'{"ready": true}\'); sys.stdout.flush(); sys.stdin.read()'


@pytest.mark.parametrize(("deaths", "starts"), [(0, True), (1, True), (2, True), (3, False)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_start_is_tried_three_times(tmp_path: Path, deaths: int, starts: bool, number: signal.Signals) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    code = f"{DIES}if n < {deaths}: os.kill(os.getpid(), {int(number)})\n{GREETS}"
    decoder = Decoder(SPEC, command=[sys.executable, "-S", "-c", code, str(count)])
    if starts:
        decoder.warm()
        assert decoder.pid is not None
        decoder.close()
    else:
        with pytest.raises(DecoderNotStarting, match=f"signal {int(number)}"):
            decoder.warm()
    assert int(count.read_text()) == min(deaths + 1, 3)


def test_a_program_that_gives_up_is_not_started_again(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    with pytest.raises(MissingError, match="exit 3"):
        Decoder(SPEC, command=[sys.executable, "-S", "-c", f"{DIES}sys.exit(3)", str(tmp_path / "count")]).warm()
    assert (tmp_path / "count").read_text() == "1"


def _kill_starts(decoder: Decoder, kills: int) -> threading.Thread:
    """Kill the real child the moment it is there, so many times."""

    def work() -> None:
        seen: set[int] = set()
        until = time.monotonic() + 60
        while len(seen) < kills and time.monotonic() < until:
            pid = decoder.pid
            if pid is not None and pid not in seen:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("kills", [2, 5])
def test_the_real_decoder_may_be_killed_at_its_starts_and_no_file_pays_for_it(place: Place, kills: int) -> None:
    decoder = Decoder(SPEC)
    with place.scanner(decoder=decoder) as scanner:
        for seed in range(3):
            png(place.inbox / f"{seed}.png", seed)

        def stop() -> None:
            scanner.stop = True

        place.time.events = [*[lambda: None] * 30, stop]
        killer = _kill_starts(decoder, kills)
        assert scanner.run()["done"] == 3
        killer.join()
        assert {item.attempts for item in scanner.journal.items()} <= {0, 1} and scanner.troubles() == []
    decoder.close()


def test_a_decoder_that_cannot_be_had_is_waited_for_and_in_the_status(place: Place) -> None:
    class Absent:
        """None can be started for a while."""

        starts = 0

        def warm(self) -> None:
            self.starts += 1
            if self.starts < 20:
                raise DecoderNotStarting("the decoder process does not start (signal 9)", next_step="wait")
            place.decoder.warm()

        def decode(self, path: Path, sha256: str | None) -> Any:
            self.warm()
            return place.decoder.decode(path, sha256)

        def close(self) -> None: ...

    absent = Absent()
    png(place.inbox / "a.png")
    with place.scanner(decoder=absent) as scanner:
        seen: list[list[str]] = []

        def stop() -> None:
            scanner.stop = True

        place.time.events = [*[lambda: seen.append(scanner.troubles())] * 40, stop]
        assert scanner.run()["done"] == 1
    assert ["the decoder process does not start, waiting: wait"] in seen and seen[-1] == []
