"""The decoder process sends frame by frame; whatever it does in between, there are all of them or none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bundles import SPEC, picture, png
from cine import dataset_of, loop, packed, write_loop
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from edgedx.core.errors import ImageError
from edgedx.core.image import Image
from edgedx.core.preprocess import canvas
from edgedx.device.decode import decoder as decode
from edgedx.device.decode.decoder import Decoder

# A child that says how many frames it sends, and sends as many or not.
CHILD = """
import json, os, struct, sys, time
out = os.fdopen(os.dup(1), "wb")
def send(header, data=b""):
    text = json.dumps({**header, "bytes": len(data)}).encode()
    out.write(struct.pack(">I", len(text)) + text + data)
    out.flush()
send({"ready": True})
while len(size := sys.stdin.buffer.read(4)) == 4:
    name = os.path.basename(json.loads(sys.stdin.buffer.read(struct.unpack(">I", size)[0]))["path"])
    said, sent, then = name.split("-")
    header = {"sha256": "0" * 64, "height": 5, "width": 6, "meta": {}, "format": "dicom", "transfer_syntax": None,
              "decoder": str(os.getpid()), "sop_instance_uid": None, "decode_ms": 1.0, "preprocess_ms": 1.0}
    for number in range(int(sent)):
        send({**header, "frames": int(said) if said.lstrip("-").isdigit() else said}, bytes([number]) * 256)
    if then == "abort": os.abort()
    if then == "hang": time.sleep(60)
    if then == "refuse": send({"code": "TRUNCATED", "message": "frame 3 of 4: the file ends"})
    if then == "garbage": out.write(b"garbage" * 9); out.flush(); time.sleep(60)
"""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Decoder]]:
    made = []
    monkeypatch.setattr(decode, "_DEATH_SECONDS", 0.5)

    def make(frames: str = "each") -> Decoder:
        command = [sys.executable, "-S", "-c", CHILD]
        made.append(Decoder(SPEC, command=command, seconds=1.0, frames=frames))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


def test_all_frames_come_in_order(fake: Callable[..., Decoder]) -> None:
    found = fake().decode(Path("4-4-end"), "")
    assert [int(one.canvas[0, 0]) for one in found.frames] == [0, 1, 2, 3] and found.rest[0].rest == ()


@pytest.mark.parametrize(
    ("name", "code", "where"),
    [
        ("4-2-abort", "DECODER_CRASH", "at frame 3 of 4"),
        ("4-2-garbage", "DECODER_CRASH", "at frame 3 of 4"),
        ("4-2-refuse", "TRUNCATED", "frame 3 of 4"),
        ("4-2-hang", "DECODER_TIMEOUT", "2 of 4 frames were read"),
        ("301-1-hang", "DECODER_CRASH", ""),
        ("0-1-hang", "DECODER_CRASH", ""),
        ("many-1-hang", "DECODER_CRASH", ""),
    ],
)
def test_a_child_that_does_not_send_what_it_said_gives_nothing(
    fake: Callable[..., Decoder], name: str, code: str, where: str
) -> None:
    decoder, begun = fake(), time.monotonic()
    with pytest.raises(ImageError) as caught:
        decoder.decode(Path(name), "")
    assert caught.value.code == code and where in caught.value.message
    assert time.monotonic() - begun < 10.0
    assert len(decoder.decode(Path("2-2-end"), "").frames) == 2, "what was left of it reaches no other file"


def test_who_asked_for_one_image_gets_one(fake: Callable[..., Decoder]) -> None:
    with pytest.raises(ImageError, match="died"):
        fake("middle").decode(Path("2-2-end"), "")


def test_each_frame_gets_more_time(fake: Callable[..., Decoder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_FRAME_SECONDS", 1.0)
    begun = time.monotonic()
    with pytest.raises(ImageError, match="longer than 3 s"):
        fake().decode(Path("3-2-hang"), "")
    assert 2.5 < time.monotonic() - begun < 8.0


def test_the_real_child_reads_them_in_less_memory_than_they_would_take(tmp_path: Path) -> None:
    frames = [np.kron(picture(seed, size=16), np.ones((128, 128), np.uint8)) for seed in range(7)]
    ds = dataset_of(tmp_path / "a.dcm", frames)
    ds.NumberOfFrames, ds.file_meta.TransferSyntaxUID = 250, JPEGBaseline8Bit
    coded = [packed(frame, "jpeg") for frame in frames]
    ds.PixelData = encapsulate([coded[index % 7] for index in range(250)])  # 4 MiB each: 1,000 together
    ds.save_as(tmp_path / "a.dcm")
    decoder = Decoder(SPEC, frames="each", memory_mb=1000)
    try:
        found = decoder.decode(tmp_path / "a.dcm", None).frames
        assert [one.meta["Frame"] for one in found] == [str(number) for number in range(1, 251)]
        for index in (0, 6, 100, 249):
            expected = canvas(Image.of_array(frames[index % 7]), SPEC)
            np.testing.assert_allclose(found[index].canvas.astype(int), expected, atol=3)
        assert decoder.decode(png(tmp_path / "b.png"), None).meta.get("Frame") is None
    finally:
        decoder.close()


@pytest.mark.parametrize("frames", [1, 2, 30])
def test_an_object_of_any_length_is_as_long_as_it_says(tmp_path: Path, frames: int) -> None:
    decoder = Decoder(SPEC, frames="each")
    try:
        path = write_loop(tmp_path / "a.dcm", loop(*[bool(index % 2) for index in range(frames)]))
        assert len(decoder.decode(path, None).frames) == frames
    finally:
        decoder.close()
