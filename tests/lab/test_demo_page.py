"""The demo's last step: the page on its results, and a scanner beside it that reads what is sent."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bundles import picture, png, png_bytes, write_tiny
from page_process import Client

from edgedx.device.install.health import examine, prove
from edgedx.device.install.install import install_bundle
from edgedx.lab.demo_page import page_command

_SHOW = """
import sys
from pathlib import Path
from edgedx.lab.demo_page import show_page
show_page(Path(sys.argv[1]), lambda where: print(where.urls[0], flush=True))
"""


def _made(folder: Path) -> Path:
    """What a demo leaves: a device, an inbox of which everything was read, results."""
    write_tiny(folder / "tiny.edgedx")
    install_bundle(folder / "tiny.edgedx", folder / "device", allow_unsigned=True, examine=examine, prove=prove)
    (folder / "inbox").mkdir()
    for number in range(2):
        png(folder / "inbox" / f"image-{number}.png", number)
    words = ["scan", folder / "inbox", "--bundle", folder / "device", "--out", folder / "results", "--once"]
    subprocess.run([sys.executable, "-m", "edgedx", *map(str, words)], check=True, capture_output=True, timeout=120)
    return folder


@pytest.mark.slow
def test_the_page_shows_the_demo_and_takes_an_image(tmp_path: Path) -> None:
    out = _made(tmp_path)
    command = [sys.executable, "-c", _SHOW, str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())
        assert found
        client = Client(int(found[1]), https=False)
        assert client.get("/").text.count('class="line ') == 2
        sha256 = client.upload(png_bytes(picture(7))).json["files"][0]["sha256"]
        until, state = time.monotonic() + 60, {"state": "waiting"}
        while state["state"] == "waiting" and time.monotonic() < until:
            time.sleep(0.2)
            state = client.get(f"/upload/{sha256}").json
        assert state["state"] == "done", state
        assert client.get(f"/image/{state['key']}").status == 200
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.communicate()
    scanners = subprocess.run(["pgrep", "-f", f"edgedx scan {out}"], capture_output=True, text=True, check=False)
    assert scanners.stdout == "", "the scanner beside it has ended, too"


def test_how_the_page_is_opened_again_can_be_pasted(tmp_path: Path) -> None:
    assert page_command(Path("my demo")) == (
        "edgedx page --out 'my demo/results' --root 'my demo/device' --inbox 'my demo/inbox'"
    )
