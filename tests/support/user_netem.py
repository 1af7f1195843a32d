"""`tc netem` for kernels without it: two TUN devices, and this process as the line between them.

    python user_netem.py NAMESPACE DEVICE NAMESPACE DEVICE

Each line of standard input is JSON that says how the line is from now on: ``{"kbit": 64, "loss": 20, "delay_ms": 100,
"down": false}``, perhaps with a ``seed`` of the losses. Each direction loses packets independently, then lets them wait
for the rate, then for the delay, in this order as netem does; 1,000 packets wait at most.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import sys
import time
from itertools import count

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI, _CLONE_NEWNET = 0x400454CA, 0x1, 0x1000, 0x40000000
_LIMIT = 1000


def _device(namespace: str, name: str) -> int:
    """A TUN device in a namespace, whose packets this process reads and writes wherever it is itself."""
    place = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(place, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(place)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return handle


def main() -> None:
    """Carry packets until standard input ends."""
    ends = [_device(*sys.argv[1:3]), _device(*sys.argv[3:5])]
    print("ready", flush=True)
    line = {"kbit": None, "loss": 0.0, "delay_ms": 0, "down": False}
    free, waiting = [0.0, 0.0], [0, 0]  # when the direction can take the next packet; how many wait in it
    ahead: list[tuple[float, int, int, bytes]] = []
    draw, number = random.Random(0), count()
    wake = selectors.DefaultSelector()
    for handle in (0, *ends):
        wake.register(handle, selectors.EVENT_READ)
    os.set_blocking(0, False)
    text = b""
    while True:
        pause = max(0.0, ahead[0][0] - time.monotonic()) if ahead else None
        ready = {key.fd for key, _ in wake.select(pause)}
        if 0 in ready:
            came = os.read(0, 1 << 16)
            if not came:
                return
            *whole, text = (text + came).split(b"\n")
            for one in whole:
                line.update(json.loads(one))
                draw.seed(line.pop("seed", draw.random()))
        for side, handle in enumerate(ends):
            while handle in ready:
                try:
                    packet = os.read(handle, 1 << 16)
                except BlockingIOError:
                    break
                lost = draw.random() * 100 < line["loss"]
                if line["down"] or lost or waiting[side] >= _LIMIT:
                    continue
                now = time.monotonic()
                sent = max(now, free[side]) + (len(packet) * 8 / (line["kbit"] * 1000) if line["kbit"] else 0.0)
                free[side], waiting[side] = sent, waiting[side] + 1
                heapq.heappush(ahead, (sent + line["delay_ms"] / 1000, next(number), side, packet))
        while ahead and ahead[0][0] <= time.monotonic():
            _, _, side, packet = heapq.heappop(ahead)
            waiting[side] -= 1
            if not line["down"]:
                with contextlib.suppress(OSError):  # the device was taken down
                    os.write(ends[1 - side], packet)


if __name__ == "__main__":
    main()
