"""Tiny copies of public data sets in their published layouts: made-up images, real file and column names."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tiny

from edgedx.dicom.writing.make import PatientFacts, write_dicom

FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia"),
    *("Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"),
)
LESIONS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
TUMOURS = ("glioma", "meningioma", "notumor", "pituitary")
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
MASS_HEADER = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,mass margins,"
    "assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
CALC_HEADER = (
    "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,calc type,"
    "calc distribution,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)


def write_csv(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    """A table under a published header, folder and all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        stream.write(header + "\n")
        csv.writer(stream, lineterminator="\n").writerows(rows)


def findings_of(patient: int, shot: int) -> list[str]:
    """None for every seventh patient, else four of the fourteen."""
    return [] if patient % 7 == 0 else sorted({FINDINGS[(patient + shot + 3 * k) % 14] for k in range(4)})


def chestxray14(root: Path, patients: int = 40, side: int = 24) -> None:
    """Two radiographs a patient in two of the folders; the last third of the patients is test."""
    rows, lists = [], {"train_val_list.txt": [], "test_list.txt": []}
    for patient in range(1, patients + 1):
        for shot in range(2):
            name = f"{patient:08d}_{shot:03d}.png"
            found = findings_of(patient, shot)
            pixels = tiny.picture(patient * 10 + shot, bright="Effusion" in found, side=side)
            tiny.write_picture(root / f"images_{1 + patient % 2:03d}/images/{name}", pixels)
            label = "|".join(found) or "No Finding"
            rows.append(
                [name, label, shot, patient, f"{30 + patient:03d}Y", "FM"[patient % 2], "PA", 9, 9, 0.1, 0.1, ""]
            )
            lists["test_list.txt" if patient > patients * 2 // 3 else "train_val_list.txt"].append(name)
    write_csv(root / "Data_Entry_2017.csv", NIH_HEADER, rows)
    for name, listed in lists.items():
        (root / name).write_text("\n".join(listed) + "\n")


def isic2018(root: Path) -> None:
    """Two images for each lesion of Training, one for those of Test."""
    grouped = []
    for part, count in (("Training", 84), ("Validation", 7), ("Test", 14)):
        rows = []
        for index in range(count):
            name = f"ISIC_{len(part):02d}{index:05d}"
            lesion = index // 2 if part == "Training" else index
            picture = np.repeat(tiny.picture(len(part) * 1000 + index)[:, :, None], 3, axis=2)
            tiny.write_picture(root / f"ISIC2018_Task3_{part}_Input/{name}.jpg", picture)
            rows.append([name, *(float(lesion % 7 == place) for place in range(7))])
            if part == "Training":
                grouped.append([name, f"HAM_{lesion:07d}", "histopathology"])
        folder = root / (f"ISIC2018_Task3_{part}_GroundTruth" if part == "Test" else "")
        write_csv(folder / f"ISIC2018_Task3_{part}_GroundTruth.csv", ",".join(("image", *LESIONS)), rows)
    write_csv(root / "ISIC2018_Task3_Training_LesionGroupings.csv", "image,lesion_id,diagnosis_confirm_type", grouped)


def eyepacs(root: Path, solution: bool = True) -> None:
    """Both eyes of each subject."""
    for folder, table, header, start in (
        ("train", "trainLabels.csv", "image,level", 10),
        ("test", "retinopathy_solution.csv", "image,level,Usage", 100),
    ):
        if folder == "test" and not solution:
            continue
        rows = []
        for subject in range(start, start + 20):
            for side in ("left", "right"):
                name = f"{subject}_{side}"
                tiny.write_picture(root / folder / f"{name}.jpeg", tiny.picture(subject * 2 + len(side)))
                rows.append([name, subject % 5, "Public"][: header.count(",") + 1])
        write_csv(root / table, header, rows)


def aptos2019(root: Path) -> None:
    """A photograph each."""
    rows = [[f"{index:012x}", index % 5] for index in range(60)]
    for name, _ in rows:
        tiny.write_picture(root / f"train_images/{name}.png", tiny.picture(int(str(name), 16)))
    write_csv(root / "train.csv", "id_code,diagnosis", rows)


def cbis_ddsm(root: Path, patients: int = 24) -> None:
    """A mammogram in two views for each patient, in TCIA's folders; patient 1 stands in mass-train and in calc-test."""
    rows: dict[str, list[list[object]]] = {}
    for patient in range(1, patients + 1):
        part, folder = ("test", "Test") if patient > patients * 2 // 3 else ("train", "Training")
        for view in ("CC", "MLO"):
            worst = "MALIGNANT" if patient % 2 else "BENIGN_WITHOUT_CALLBACK"
            _abnormality(root, rows, "mass", part, folder, patient, view, worst)
            if patient == 1 and view == "CC":
                _abnormality(root, rows, "calc", "test", "Test", patient, view, "BENIGN")
            if patient == 2:  # two more abnormalities on the same mammogram
                for number, pathology in ((2, "MALIGNANT"), (3, "BENIGN")):
                    _abnormality(root, rows, "mass", part, folder, patient, view, pathology, number)
    for kind, header in (("mass", MASS_HEADER), ("calc", CALC_HEADER)):
        for part in ("train", "test"):
            write_csv(root / f"{kind}_case_description_{part}_set.csv", header, rows.get(f"{kind}-{part}", []))


def _abnormality(
    root: Path,
    rows: dict[str, list[list[object]]],
    kind: str,
    part: str,
    folder: str,
    patient: int,
    view: str,
    pathology: str,
    number: int = 1,
) -> None:
    name = f"{kind.capitalize()}-{folder}_P_{patient:05d}_LEFT_{view}"
    path = f"{name}/1.3.6.1.4.1.9590.100.1.2.1/1.3.6.1.4.1.9590.100.1.2.2/000000.dcm"
    crop = f"{name}_{number}/1.2.3/1.2.4/000001.dcm\n"  # the published tables end some paths with a newline
    row = [f"P_{patient:05d}", 1 + patient % 4, "LEFT", view, number, "mass" if kind == "mass" else "calcification"]
    rows.setdefault(f"{kind}-{part}", []).append([*row, "ROUND", "SHARP", 4, pathology, 3, path, crop, crop])
    base = root / "CBIS-DDSM"
    whole = base / name / f"07-20-2016-DDSM-NA-{patient:05d}" / "1.000000-full mammogram images-24515" / "1-1.dcm"
    if not whole.exists():
        pixels = tiny.picture(patient * 10 + len(view), side=32).astype(np.uint16) * 200
        whole.parent.mkdir(parents=True)
        write_dicom(whole, pixels, bits_stored=16, subject=PatientFacts(f"P_{patient:05d}"), body_part="BREAST")
    crop_file = base / f"{name}_{number}" / "07-20-2016-DDSM-NA-1" / "1.000000-cropped images-9" / "1-1.dcm"
    crop_file.parent.mkdir(parents=True, exist_ok=True)
    crop_file.write_bytes(b"no image: it must not be opened")


def brain_tumour(root: Path) -> None:
    """A folder for each class; one slice of Training stands in Testing too, as in the published set."""
    for part, prefix, count in (("Training", "Tr", 14), ("Testing", "Te", 5)):
        for place, name in enumerate(TUMOURS):
            for index in range(count):
                seed = 7000 if index == 0 and name == "glioma" else len(part) * 1000 + place * 100 + index
                tiny.write_picture(root / f"{part}/{name}/{prefix}-{name[:2]}_{index:04d}.png", tiny.picture(seed))


def brain_figshare(root: Path, patients: int = 18) -> None:
    """Three slices a patient, in two of the folders that the archives make, and the authors' folds."""
    import h5py

    folds = []
    for index in range(patients * 3):
        patient = index // 3
        folder = root / f"brainTumorDataPublic_{1 + index // 30}"
        folder.mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / f"{index + 1}.mat", "w") as file:
            slice_ = file.create_group("cjdata")
            slice_["label"] = np.array([[1.0 + patient % 3]])
            slice_["PID"] = np.array([[ord(sign)] for sign in f"{100000 + patient}"], np.uint16)
            pixels = tiny.picture(9000 + index).astype(np.int16) * 8
            pixels[:2, :20] = 0  # no mirror image of itself: rows and columns can be told apart
            slice_["image"] = pixels.T
        folds.append(1 + patient % 5)
    with h5py.File(root / "cvind.mat", "w") as file:
        file["cvind"] = np.array([folds], np.float64)


def tuberculosis(root: Path) -> None:
    """Both sets; readings as each of them writes them."""
    for prefix, base, first in (
        ("MCUCXR", "Montgomery-County-CXR-Set/MontgomerySet", "Patient's Sex: F \nPatient's Age: 027Y\n"),
        ("CHNCXR", "ChinaSet_AllFiles", "male 16month\n"),
    ):
        for index in range(1, 25):
            name = f"{prefix}_{index:04d}_{index % 2}"
            tiny.write_picture(root / base / f"CXR_png/{name}.png", tiny.picture(index + 1000 * len(base)))
            reading = root / base / f"ClinicalReadings/{name}.txt"
            reading.parent.mkdir(parents=True, exist_ok=True)
            reading.write_text(first + ("normal\n" if index % 2 == 0 else "PTB in the right upper field\n"))


def rsna_pneumonia(root: Path, patients: int = 20) -> None:
    """Two images a patient, named by an identifier of their own; two boxes where there is an opacity."""
    rows, classes, mapping = [], [], []
    for patient in range(1, patients + 1):
        for shot in range(2):
            name, sick = f"{patient:04d}{shot}-aaaa-bbbb", patient % 2
            subject = PatientFacts(name, sex="FM"[patient % 2])
            pixels = tiny.picture(patient * 10 + shot, bright=bool(sick))
            path = root / f"stage_2_train_images/{name}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_dicom(path, pixels, subject=subject, view="AP" if sick else "PA")
            boxes = [(1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)] if sick else [("", "", "", "")]
            rows += [[name, *box, sick] for box in boxes]
            classes += [[name, "Lung Opacity" if sick else "Normal"]] * len(boxes)
            mapping.append({"subset_img_id": name, "img_id": f"{patient:08d}_{shot:03d}.png", "orig_labels": []})
    write_csv(root / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", rows)
    write_csv(root / "stage_2_detailed_class_info.csv", "patientId,class", classes)
    (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(mapping))


def kermany(root: Path) -> None:
    """Names of the second version, two images a child; the children of test are counted anew; a val of two images."""
    for part, count, start in (("train", 16, 1), ("val", 1, 90), ("test", 6, 1)):
        for number in range(start, start + count):
            for shot in (1, 2):
                seed = 1000 * len(part) + 10 * number + shot
                cause = ("bacteria", "virus")[number % 2]
                sick, well = tiny.picture(seed, bright=True), tiny.picture(5000 + seed)
                name = f"{'NORMAL2-' if number % 3 == 0 else ''}IM-{number:04d}-{shot:04d}"
                home = root / "chest_xray" / part
                tiny.write_picture(home / f"PNEUMONIA/person{number}_{cause}_{seed}.jpeg", sick)
                tiny.write_picture(home / f"NORMAL/{name}.jpeg", well)


def idrid(root: Path) -> None:
    """Both sets count from 001; tables end as published: a blank behind a column, empty columns, an empty row."""
    home = root / "B. Disease Grading"
    for letter, folder, title, count in (("a", "Training", "Training", 50), ("b", "Testing", "Testing", 15)):
        rows: list[list[object]] = []
        for index in range(1, count + 1):
            picture = np.repeat(tiny.picture(len(folder) * 100 + index)[:, :, None], 3, axis=2)
            tiny.write_picture(home / f"1. Original Images/{letter}. {folder} Set/IDRiD_{index:03d}.jpg", picture)
            rows.append([f"IDRiD_{index:03d}", index % 5, index % 3, "", ""])
        header = "Image name,Retinopathy grade,Risk of macular edema ,,"
        name = f"{letter}. IDRiD_Disease Grading_{title} Labels.csv"
        write_csv(home / "2. Groundtruths" / name, header, [*rows, ["", "", "", "", ""]])


def busi(root: Path) -> None:
    """Scans with a mask each, and every fifth lesion with a second one."""
    for place, label in enumerate(("benign", "malignant", "normal")):
        for index in range(1, 21):
            scan = root / f"Dataset_BUSI_with_GT/{label}/{label} ({index}).png"
            tiny.write_picture(scan, tiny.picture(100 * place + index))
            for extra in ["", "_1"] if label != "normal" and index % 5 == 0 else [""]:
                mask = np.full((24, 24), 255 * (label != "normal"), np.uint8)
                tiny.write_picture(scan.with_name(f"{scan.stem}_mask{extra}.png"), mask)


def iq_othnccd(root: Path) -> None:
    """The authors' folders, spelt as they spell them."""
    home = root / "The IQ-OTHNCCD lung cancer dataset"
    for place, (folder, name) in enumerate((("Bengin cases", "Bengin"), ("Malignant cases", "Malignant"),
                                            ("Normal cases", "Normal"))):  # fmt: skip
        for index in range(1, 21):
            tiny.write_picture(home / folder / f"{name} case ({index}).jpg", tiny.picture(3000 + 100 * place + index))


LUNA_SHAPE, LUNA_SPACING, LUNA_OFFSET = (12, 40, 44), (0.8, 0.7, 2.0), (-15.0, -12.0, -300.0)
"""Slices, rows, columns; and mm in the order x, y, z, as the header has them."""


def write_volume(folder: Path, uid: str, values: np.ndarray, *, flipped: bool = False, **changes: str) -> None:
    """A scan as LUNA16 has it; `flipped` stores x and y backwards, over the same place in the patient."""
    depth, height, width = values.shape
    offset = list(LUNA_OFFSET)
    if flipped:
        values = values[:, ::-1, ::-1]
        offset[0] += (width - 1) * LUNA_SPACING[0]
        offset[1] += (height - 1) * LUNA_SPACING[1]
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "-1 0 0 0 -1 0 0 0 1" if flipped else "1 0 0 0 1 0 0 0 1",
        "Offset": " ".join(map(str, offset)),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": " ".join(map(str, LUNA_SPACING)),
        "DimSize": f"{width} {height} {depth}",
        "ElementType": "MET_SHORT",
        "ElementDataFile": f"{uid}.raw",
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{uid}.mhd").write_text("".join(f"{key} = {value}\n" for key, value in fields.items()))
    np.ascontiguousarray(values, "<i2").tofile(folder / f"{uid}.raw")


def world(z: float, y: float, x: float) -> tuple[float, float, float]:
    """mm in the order x, y, z of a voxel of a scan that is not flipped."""
    dx, dy, dz = LUNA_SPACING
    return LUNA_OFFSET[0] + x * dx, LUNA_OFFSET[1] + y * dy, LUNA_OFFSET[2] + z * dz


def luna16(root: Path, subsets: int = 5, scans: int = 2, others: int = 8) -> None:
    """Scans of air with two bright balls each, which are the nodules, and candidates in the air around."""
    rng, rows = np.random.default_rng(0), []
    depth, height, width = LUNA_SHAPE
    grid = np.indices(LUNA_SHAPE)
    for subset in range(subsets):
        for scan in range(scans):
            uid = f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{subset}{scan:05d}"
            values = rng.normal(-850, 40, LUNA_SHAPE)
            for ball in range(2):
                centre = (5 + ball, 10 + 18 * ball, 12 + 16 * ball)
                values[sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < 16] = 60
                rows.append([uid, *(f"{value:.2f}" for value in world(*centre)), 1])
            write_volume(root / f"subset{subset}", uid, values.astype(np.int16), flipped=bool(scan))
            for index in range(others):
                place = world(index % depth, (7 * index + 3) % height, (5 * index + 30) % width)
                rows.append([uid, *(f"{value:.2f}" for value in place), 0])
    rows.append(["1.3.6.1.4.1.14519.5.2.1.6279.6001.999", 0, 0, 0, 0])  # of a subset that was not downloaded
    write_csv(root / "candidates_V2.csv", "seriesuid,coordX,coordY,coordZ,class", rows)


MAKERS = {
    "nih-chestxray14": chestxray14,
    "isic2018-task3": isic2018,
    "luna16": luna16,
    "eyepacs-dr": eyepacs,
    "aptos2019-dr": aptos2019,
    "cbis-ddsm": cbis_ddsm,
    "brain-tumour-mri": brain_tumour,
    "brain-tumour-figshare": brain_figshare,
    "tuberculosis-cxr": tuberculosis,
    "rsna-pneumonia": rsna_pneumonia,
    "kermany-pneumonia": kermany,
    "idrid-dr": idrid,
    "busi": busi,
    "iq-othnccd": iq_othnccd,
}
"""By recipe."""
