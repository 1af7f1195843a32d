"""How fast a running scanner is, against the limit of its own parts on the same cores in the same run.

    python benchmarks/scan_throughput.py BUNDLE [--images 500] [--singles 40] [--idle 120] [--side 2048]

For each of uncompressed, JPEG 2000 and JPEG-LS: `images` chest phantoms of 2048 x 2048 pixels and 12 bits. The limit is
the slower of decoding alone (as many decoder processes as the scanner has, reading, hashing and preprocessing included)
and inference alone (batches as the scanner's). Each alone has all cores, which the scanner cannot give to both: where
inference is no small part, the share of what both allow by turns says more. Then files that arrive one by one: seconds
from arrival to the result beyond the stability gate, of which the pause between looks is a part. Bytes written are what
the kernel sent to the disk for the scanner's process; CPU seconds when idle are of the scanner with its decoders, the
files still there. Eight drawings are repeated below changing headers: as many different files, which decode alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pydicom
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, generate_uid
from scanner_process import ScannerProcess, account, disk_of

from edgedx.core.bundle.manifest import Bundle, open_bundle
from edgedx.core.files import sha256_file, write_json
from edgedx.core.settings.accept import Accept
from edgedx.device.decode.decoder import Decoder
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.predict import Predictor
from edgedx.device.scanner.readers import default_count
from edgedx.device.scanner.work import BATCH
from edgedx.dicom.writing.make import PatientFacts, write_dicom
from edgedx.dicom.writing.phantom import BITS_STORED, LABELS, draw_phantom
from edgedx.lab.run.stage import machine

SYNTAXES = ("uncompressed", "jpeg2000", "jpegls")
_DRAWINGS = 8
_ALONE = 64  # images to measure each part on
_WARM = 2 * BATCH  # files after which every decoder process is there


def drawings(folder: Path, syntax: str, side: int, accept: Accept) -> list[pydicom.Dataset]:
    """Phantoms at the size of a detector, with a detector's noise: smooth images would compress too well.

    Headers are such that the bundle accepts them: what is refused is never asked.
    """
    view = accept.view[0] if accept.view else "PA"
    facts = PatientFacts(age_years=sum(accept.age_years) // 2 if accept.age_years else 50)
    made = []
    for number in range(_DRAWINGS):
        rng = np.random.default_rng(number)
        small = draw_phantom(LABELS[number % 2], rng).astype(np.float32)
        large = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 6, (side, side))
        pixels = np.clip(np.rint(large), 0, 2**BITS_STORED - 1).astype(np.uint16)
        path = folder / "drawing"
        write_dicom(path, pixels, kind="CR", bits_stored=BITS_STORED, subject=facts, view=view)
        dataset = pydicom.dcmread(path)
        if syntax == "jpeg2000":
            frame = encode_array(pixels, bits_stored=BITS_STORED)  # a codestream, lossless
            dataset.PixelData = encapsulate([bytes(frame)])
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        elif syntax == "jpegls":
            dataset.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
        made.append(dataset)
    return made


def write_images(folder: Path, made: Sequence[pydicom.Dataset], count: int, name: str) -> list[Path]:
    """`count` files of different content."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        dataset = made[number % len(made)]
        dataset.InstanceNumber = number + 1
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=[name, str(number)]
        )
        paths.append(folder / f"{name}-{number:05d}.dcm")
        dataset.save_as(paths[-1])
    return paths


def decode_alone(bundle: Bundle, paths: Sequence[Path], workers: int) -> tuple[float, Any]:
    """Images a second of warm decoder processes that wait for nothing; and canvases."""
    manifest = bundle.manifest
    decoders = [Decoder(manifest.preprocess, frames=manifest.accept.multi_frame) for _ in range(workers)]
    digests = [sha256_file(path) for path in paths]

    def share(number: int) -> list[Any]:
        mine = range(number, len(paths), workers)
        return [decoders[number].decode(paths[at], digests[at]).canvas for at in mine]

    try:
        for decoder in decoders:
            decoder.warm()
            decoder.decode(paths[0], digests[0])
        with ThreadPoolExecutor(workers) as threads:
            begun = time.perf_counter()
            found = list(threads.map(share, range(workers)))
            seconds = time.perf_counter() - begun
    finally:
        for decoder in decoders:
            decoder.close()
    return len(paths) / seconds, np.stack([canvas for one in found for canvas in one])


def infer_alone(bundle: Bundle, canvases: Any, rounds: int = 5) -> float:
    """Images a second of the model as the scanner asks it."""
    with open_runner(bundle) as runner:
        predictor = Predictor(bundle, runner)
        batches = [canvases[at : at + BATCH] for at in range(0, len(canvases), BATCH)]
        predictor.predict_canvases(batches[0])
        begun = time.perf_counter()
        for _ in range(rounds):
            for batch in batches:
                predictor.predict_canvases(batch)
        return rounds * len(canvases) / (time.perf_counter() - begun)


def backlog(bundle: Path, base: Path, paths: Sequence[Path], workers: int) -> dict[str, Any]:
    """A warm scanner is given all at once."""
    settle = 0.5
    scanner = ScannerProcess(bundle, base, ["--settle", str(settle), "--interval", "0.1", "--workers", str(workers)])
    digests = {sha256_file(path) for path in paths}
    scanner.start()
    try:
        scanner.wait_until_warm()
        _warm_up(scanner, paths[:_WARM])
        before = scanner.process.io_counters().write_bytes
        begun = time.perf_counter()
        for path in paths[_WARM:]:
            path.rename(scanner.inbox / path.name)
        whole = scanner.wait_for(len(paths), 120.0, 0.02)
        seconds = time.perf_counter() - begun - settle
        written = scanner.process.io_counters().write_bytes - before
    finally:
        status = scanner.stop()
    found = account(scanner.inbox, scanner.out, digests, ended=True)
    if not whole or status or found.lost or found.duplicated or found.broken:
        raise RuntimeError(f"{found}\n{scanner.log()[-4000:]}")
    count = len(paths) - _WARM
    return {
        "images_per_s": count / seconds,
        "seconds": seconds,
        "bytes_written_per_image": written / count,
        "statuses": dict(found.statuses),
        "codes": dict(found.codes),
    }


def one_by_one(bundle: Path, base: Path, paths: Sequence[Path], idle: float, workers: int) -> dict[str, Any]:
    """A warm scanner, with the pauses that it has unless told otherwise, is given a file at random moments."""
    settle = 2.0
    scanner = ScannerProcess(bundle, base, ["--workers", str(workers)])
    rng, waits = np.random.default_rng(0), []
    scanner.start()
    try:
        scanner.wait_until_warm()
        _warm_up(scanner, paths[:1])
        before = scanner.process.io_counters().write_bytes
        for number, path in enumerate(paths[1:], 2):
            time.sleep(float(rng.uniform(0, 2)))
            begun = time.perf_counter()
            path.rename(scanner.inbox / path.name)
            if not scanner.wait_for(number, 60.0, 0.005):
                raise RuntimeError(scanner.log()[-4000:])
            waits.append(time.perf_counter() - begun - settle)
        time.sleep(1.0)  # the ledger's last word comes after the result
        written = scanner.process.io_counters().write_bytes - before
        busy = _cpu_seconds(scanner)
        time.sleep(idle)
        busy = _cpu_seconds(scanner) - busy
    finally:
        scanner.stop()
    return {
        "files": len(waits),
        "settle_s": settle,
        "interval_s": 2.0,
        "p50_s": float(np.percentile(waits, 50)),
        "p95_s": float(np.percentile(waits, 95)),
        "bytes_written_per_image": written / len(waits),
        "idle_s": idle,
        "cpu_s_per_idle_hour": busy * 3600 / idle,
    }


def _warm_up(scanner: ScannerProcess, paths: Sequence[Path]) -> None:
    for path in paths:
        path.rename(scanner.inbox / path.name)
    if not scanner.wait_for(len(paths), 120.0):
        raise RuntimeError(scanner.log()[-4000:])
    time.sleep(1.0)


def _cpu_seconds(scanner: ScannerProcess) -> float:
    times = [one.cpu_times() for one in (scanner.process, *scanner.process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--singles", type=int, default=40)
    parser.add_argument("--idle", type=float, default=120.0)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=default_count())
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "results" / "scan_throughput.json")
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    report: dict[str, Any] = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "cores": len(psutil.Process().cpu_affinity()),
        "workers": options.workers,
        "images": options.images,
        "side": options.side,
    }
    for syntax in SYNTAXES:
        with tempfile.TemporaryDirectory() as name:
            base = Path(name)
            report["disk"] = disk_of(base)
            made = drawings(base, syntax, options.side, bundle.manifest.accept)
            paths = write_images(base / "files", made, options.images + _WARM, syntax)
            size = sum(path.stat().st_size for path in paths) / len(paths)
            alone = paths[: min(_ALONE, len(paths))]
            # Before and after, so that a machine that slows down or has other work is seen.
            decode, canvases = decode_alone(bundle, alone, options.workers)
            infer = infer_alone(bundle, canvases)
            spare = write_images(base / "alone", made, len(alone), f"{syntax}-alone")
            found = backlog(options.bundle, base / "backlog", paths, options.workers)
            decode_after = decode_alone(bundle, spare, options.workers)[0]
            infer_after = infer_alone(bundle, canvases)
            decodes, infers = (decode + decode_after) / 2, (infer + infer_after) / 2
            limit, together = min(decodes, infers), 1 / (1 / decodes + 1 / infers)
            if found["statuses"].get("done", 0) < len(paths) / 2:
                raise SystemExit(f"{found['codes']}: the bundle refuses these images, so nothing is measured")
            report[syntax] = found | {
                "bytes_of_a_file": size,
                "decode_alone_per_s": [decode, decode_after],
                "infer_alone_per_s": [infer, infer_after],
                "share_of_limit": found["images_per_s"] / limit,
                "share_of_both_on_these_cores": found["images_per_s"] / together,
            }
            print(
                f"{syntax:13s} {found['images_per_s']:.1f} images/s; alone: decoding {decode:.1f}, {decode_after:.1f}, "
                f"inference {infer:.1f}, {infer_after:.1f}; share of the limit {found['images_per_s'] / limit:.2f}, "
                f"of both by turns {found['images_per_s'] / together:.2f}; "
                f"{found['bytes_written_per_image'] / 1e3:.1f} kB written for each"
            )
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        made = drawings(base, "uncompressed", options.side, bundle.manifest.accept)
        paths = write_images(base / "files", made, options.singles + 1, "single")
        single = report["one_by_one"] = one_by_one(
            options.bundle, base / "single", paths, options.idle, options.workers
        )
    write_json(options.report, report)
    print(
        f"one by one    P50 {single['p50_s']:.2f} s, P95 {single['p95_s']:.2f} s beyond the gate; "
        f"{single['bytes_written_per_image'] / 1e3:.1f} kB written for each; "
        f"{single['cpu_s_per_idle_hour']:.0f} CPU seconds per idle hour"
    )


if __name__ == "__main__":
    main()
