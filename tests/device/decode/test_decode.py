"""Whatever a file does to the decoder process, the scanner gets an answer, keeps its own process, and goes on."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bundles import SPEC, dicom, png

from edgedx.core.errors import ImageError, MissingError
from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.device.decode import decoder as decode
from edgedx.device.decode.decoder import DecodedCanvas, Decoder, FileChanged
from edgedx.dicom.reading.open import open_image

# A child that answers like the real one, but misbehaves at a file whose name is that of a fault.
CHILD = """
import json, os, struct, sys, time
out = os.fdopen(os.dup(1), "wb")
out.write(struct.pack(">I", 15) + b'{"ready": true}')
out.flush()
while len(size := sys.stdin.buffer.read(4)) == 4:
    name = os.path.basename(json.loads(sys.stdin.buffer.read(struct.unpack(">I", size)[0]))["path"])
    if name == "abort": os.abort()
    if name == "exit": sys.exit(3)
    if name == "hang": time.sleep(60)
    if name == "garbage": out.write(b"garbage" * 9); out.flush(); time.sleep(60)
    if name == "text": out.write(struct.pack(">I", 4) + b"text"); out.flush(); time.sleep(60)
    if name == "list": out.write(struct.pack(">I", 2) + b"[]"); out.flush(); time.sleep(60)
    if name == "half": out.write(struct.pack(">I", 500) + b'{"co'); out.flush(); os.abort()
    if name == "lie": out.write(struct.pack(">I", 13) + b'{"bytes": 99}' + bytes(99)); out.flush(); time.sleep(60)
    if name == "slow": out.write(struct.pack(">I", 500)); out.flush(); time.sleep(60)
    if name == "huge": out.write(struct.pack(">I", 0xFFFFFFFF)); out.flush(); time.sleep(60)
    header = {"bytes": 256, "sha256": "0" * 64, "height": 5, "width": 6, "meta": {}, "format": "png",
              "transfer_syntax": None, "decoder": str(os.getpid()), "sop_instance_uid": None,
              "decode_ms": 1.0, "preprocess_ms": 1.0}
    data = json.dumps(header).encode()
    out.write(struct.pack(">I", len(data)) + data + bytes(range(256)))
    out.flush()
"""
Make = Callable[..., Decoder]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes decoders with the misbehaving child."""
    made = []
    monkeypatch.setattr(decode, "_DEATH_SECONDS", 0.5)  # how long a child that talks nonsense may take to die

    def make(**settings: int | float) -> Decoder:
        made.append(Decoder(SPEC, command=[sys.executable, "-S", "-c", CHILD], **{"seconds": 5.0, **settings}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


@pytest.fixture(scope="module")
def real() -> Iterator[Decoder]:
    decoder = Decoder(SPEC)
    yield decoder
    decoder.close()


def _decode(decoder: Decoder, path: Path) -> DecodedCanvas:
    return decoder.decode(path, hashlib.sha256(path.read_bytes()).hexdigest())


def _code(decoder: Decoder, path: Path) -> str:
    """The reason code of a file, or ``read``."""
    try:
        _decode(decoder, path)
    except ImageError as error:
        return error.code
    return "read"


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


# A child that misbehaves


@pytest.mark.parametrize("fault", ["abort", "exit", "garbage", "text", "list", "half", "huge", "lie"])
def test_a_child_that_dies_or_talks_nonsense_is_replaced(fake: Make, fault: str) -> None:
    decoder = fake()
    first = int(decoder.decode(Path("fine"), "").decoder)
    begun = time.monotonic()
    with pytest.raises(ImageError) as caught:
        decoder.decode(Path(fault), "")
    assert caught.value.code == "DECODER_CRASH" and time.monotonic() - begun < 20.0
    second = int(decoder.decode(Path("fine"), "").decoder)
    assert second != first and _gone(first)


@pytest.mark.parametrize("fault", ["hang", "slow"])
def test_a_child_that_hangs_is_ended_and_replaced(fake: Make, fault: str) -> None:
    decoder = fake(seconds=1.0)
    decoder.decode(Path("fine"), "")
    stuck = decoder.pid
    with pytest.raises(ImageError) as caught:
        decoder.decode(Path(fault), "")
    assert caught.value.code == "DECODER_TIMEOUT" and stuck is not None and _gone(stuck)
    assert decoder.decode(Path("fine"), "").canvas[0, :3].tolist() == [0, 1, 2]


def test_a_signal_is_named_in_the_message(fake: Make) -> None:
    with pytest.raises(ImageError, match="signal 6"):
        fake().decode(Path("abort"), "")


def test_one_child_serves_many_files_and_is_renewed_in_time(fake: Make) -> None:
    decoder = fake(lifetime=3)
    served = [decoder.decode(Path("fine"), "").decoder for _ in range(7)]
    assert served[0] == served[1] == served[2] != served[3] == served[4] == served[5] != served[6]


def test_a_child_that_was_killed_between_two_files_is_replaced(fake: Make) -> None:
    decoder = fake()
    decoder.decode(Path("fine"), "")
    assert decoder.pid is not None
    os.kill(decoder.pid, 9)
    time.sleep(0.2)
    assert decoder.decode(Path("fine"), "").height == 5


def test_closing_ends_the_child(fake: Make) -> None:
    decoder = fake()
    decoder.decode(Path("fine"), "")
    pid = decoder.pid
    decoder.close()
    assert pid is not None and _gone(pid) and decoder.pid is None
    decoder.close()  # and it may be closed again


@pytest.mark.parametrize("program", ["/bin/false", "/bin/absent"])
def test_a_child_that_does_not_start_is_the_fault_of_no_file(program: str) -> None:
    with pytest.raises(MissingError, match="does not start") as caught:
        Decoder(SPEC, command=[program]).decode(Path("fine"), "")
    assert caught.value.next_step


# The real child


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        PreprocessSpec(size=(32, 20), window="voi", bits=16, resize="letterbox"),
        PreprocessSpec(size=(16, 16), colour="rgb", bits=8, mean=(0.5,) * 3, std=(0.25,) * 3, clahe=2.0),
    ],
)
def test_the_child_computes_what_the_lab_computes(tmp_path: Path, spec: PreprocessSpec) -> None:
    decoder = Decoder(spec)
    try:
        for path in (png(tmp_path / "a.png", 1), dicom(tmp_path / "a.dcm", 2, kind="DX")):
            found = _decode(decoder, path)
            expected = canvas(open_image(path).image, spec)
            assert found.canvas.dtype == expected.dtype
            np.testing.assert_array_equal(found.canvas, expected)
    finally:
        decoder.close()


def test_it_says_what_the_file_is(real: Decoder, tmp_path: Path) -> None:
    found = _decode(real, dicom(tmp_path / "a.dcm"))
    assert (found.format, found.height, found.width, found.meta["Modality"]) == ("dicom", 24, 24, "CR")
    assert found.sop_instance_uid and found.transfer_syntax == "1.2.840.10008.1.2.1" and found.decode_ms > 0


def test_a_bad_file_has_a_code_and_the_child_goes_on(real: Decoder, tmp_path: Path) -> None:
    good, bad = png(tmp_path / "good.png"), tmp_path / "bad"
    _decode(real, good)
    before = real.pid
    bad.write_bytes(good.read_bytes()[:150])
    assert _code(real, bad) in {"TRUNCATED", "DECODE_FAILED"}
    bad.write_text("Dear colleague")
    assert _code(real, bad) == "UNKNOWN_FORMAT"
    bad.write_bytes(b"")
    assert _code(real, bad) == "EMPTY"
    assert _code(real, good) == "read" and real.pid == before


def test_a_file_that_was_replaced_is_not_read(real: Decoder, tmp_path: Path) -> None:
    path = png(tmp_path / "a.png")
    with pytest.raises(FileChanged):
        real.decode(path, "0" * 64)
    assert _code(real, path) == "read"


def test_a_file_that_is_gone_is_not_a_crash(real: Decoder, tmp_path: Path) -> None:
    with pytest.raises(FileChanged):
        real.decode(tmp_path / "absent.png", "0" * 64)


def test_a_name_that_is_not_utf8_can_be_read(real: Decoder, tmp_path: Path) -> None:
    path = png(tmp_path / os.fsdecode(b"r\xf6ntgen.png"))
    assert _code(real, path) == "read"


def test_more_memory_than_allowed_is_an_answer_and_not_a_hang(tmp_path: Path) -> None:
    # 12,000 x 12,000 grey pixels, all but one black: 144 MB, and four times that as floats, from a file of 0.6 MB.
    side = 12_000
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side - 1))
    rows += packer.compress(b"\x00\x01" + bytes(side - 1)) + packer.flush()
    path = tmp_path / "large.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        + _chunk(b"IDAT", rows)
        + _chunk(b"IEND", b"")  # fmt: skip
    )
    decoder = Decoder(SPEC, memory_mb=1000, seconds=30.0)
    small = png(tmp_path / "small.png")
    try:
        assert _code(decoder, small) == "read"
        assert _code(decoder, path) in {"DECODER_MEMORY", "DECODER_CRASH"}
        assert _code(decoder, small) == "read"
    finally:
        decoder.close()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


FAULTS = sorted(Path(os.environ.get("EDGEDX_FAULTS", "absent"), "dicom").glob("*.dcm"))


@pytest.mark.skipif(not FAULTS, reason="EDGEDX_FAULTS does not name the folder of hostile files")
def test_hostile_files_each_end_with_an_answer(real: Decoder, tmp_path: Path) -> None:
    parent, good = os.getpid(), png(tmp_path / "good.png")
    for path in FAULTS:
        assert _code(real, path).isupper() or _code(real, path) == "read"
        assert _code(real, good) == "read"
    assert os.getpid() == parent
