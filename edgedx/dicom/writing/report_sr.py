"""Result to DICOM Comprehensive 3D SR, template TID 1500 (PS3.16), by highdicom.

One measurement group for each class: its probability, the threshold of the operating point, and the decision, with
device observer, algorithm and source image. UNVERIFIED and preliminary: no person has looked at it.
"""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from edgedx.core.heatmap import BURNED_IN
from edgedx.core.result import NOT_A_MEDICAL_DEVICE, Result

from .derived import algorithm, finish, require_highdicom, strange_frames
from .finding_codes import ASSESSMENT, DECISION, PREDICTION_SET, PRIVATE, finding_code, reason_code
from .uids import device_uid, object_uid, series_uid

SERIES_NUMBER = 9901
_PRESENT, _ABSENT = Code("52101004", "SCT", "Present"), Code("272519000", "SCT", "Absent")
_YES, _NO = Code("373066001", "SCT", "Yes"), Code("373067005", "SCT", "No")
_PROBABILITY, _THRESHOLD = Code("122157", "DCM", "Probability"), Code("122411", "DCM", "Threshold Value")
_NO_UNITS = Code("1", "UCUM", "no units")
_COMMENT = Code("121106", "DCM", "Comment")
_IMAGING = Code("363679005", "SCT", "Imaging procedure")


def report_uid(result: Result) -> str:
    """SOP Instance UID; a refusal has another one, because the image may be read by another bundle's rules later."""
    return object_uid(result.key, "sr" if result.prediction is not None else "sr-not-assessed")


def build_report(result: Result, source: Dataset) -> bytes:
    """The report of one result as a DICOM file.

    Parameters
    ----------
    result : Result
        With a prediction, or refused: then the report says so and why, and holds no figure.
    source : Dataset
        From `source_header.read_source`.

    Raises
    ------
    DependencyMissing
        highdicom is not installed.
    """
    require_highdicom()
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import (
        Comprehensive3DSR,
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
        RelationshipTypeValues,
        TextContentItem,
    )
    from pydicom.sr.codedict import codes

    name, version = algorithm(result)
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(result.runtime.bundle),
        name="edgedx",
        manufacturer_name="edgedx",
        model_name=f"{name} {version}",
        serial_number=result.runtime.bundle,
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=_IMAGING,
        imaging_measurements=_groups(result, source),
    )
    # TID 1500 is extensible, its order is significant: remarks come last.
    for text in (f"{BURNED_IN}. {NOT_A_MEDICAL_DEVICE}", *_remarks(result)):
        content[0].ContentSequence.append(
            TextContentItem(name=_COMMENT, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
        )
    report = Comprehensive3DSR(
        evidence=[source],
        coding_schemes=[CodingSchemeIdentificationItem(PRIVATE, name="edgedx private codes")],
        content=content,
        series_instance_uid=series_uid(source.StudyInstanceUID, result.runtime.bundle, "sr"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=report_uid(result),
        instance_number=max(1, result.sequence),
        manufacturer="edgedx",
        manufacturer_model_name=f"{name} {version}"[:64],
        software_versions=result.runtime.edgedx,
        device_serial_number=result.runtime.bundle,
        series_description=f"AI report - {BURNED_IN.removeprefix('AI - ')}",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    return finish(report, result)


def _groups(result: Result, source: Dataset) -> list[Any]:
    from highdicom.sr import (
        AlgorithmIdentification,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    name, version = algorithm(result)
    identified = AlgorithmIdentification(name=name, version=version, manufacturer="edgedx", parameters=_facts(result))
    by_finding = result.frame_by_finding or {}

    def group(what: str, **content: Any) -> Any:
        frame = by_finding.get(what, result.frame)  # Referenced Frame Number (0008,1160), PS3.3 C.18.4
        frames = None if frame is None else [frame]
        image = SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID, frames)
        uid = object_uid(result.key, f"tracking {what}")
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=uid, identifier=f"edgedx {what}"),
            algorithm_id=identified,
            source_images=[image],
            **content,
        )

    if result.prediction is None:
        reason = reason_code("UNKNOWN" if result.reason is None else result.reason.code)
        return [group("assessment", qualitative_evaluations=[QualitativeEvaluation(name=ASSESSMENT, value=reason)])]
    groups = []
    decided = set(result.prediction.label.split("|"))
    likely = None if result.prediction_set is None else set(result.prediction_set.classes)
    for finding, chance in result.prediction.probabilities.items():
        measured = [Measurement(name=_PROBABILITY, value=round(chance, 6), unit=_NO_UNITS)]
        if (threshold := result.prediction.threshold.get(finding)) is not None:
            measured.append(Measurement(name=_THRESHOLD, value=round(threshold, 6), unit=_NO_UNITS))
        said = [QualitativeEvaluation(name=DECISION, value=_PRESENT if finding in decided else _ABSENT)]
        if likely is not None:
            said.append(QualitativeEvaluation(name=PREDICTION_SET, value=_YES if finding in likely else _NO))
        code = finding_code(finding)
        groups.append(group(finding, finding_type=code, measurements=measured, qualitative_evaluations=said))
    return groups


def _facts(result: Result) -> list[str]:
    facts = [f"bundle sha256 {result.runtime.bundle}", f"variant {result.runtime.variant}",
             f"provider {result.runtime.provider}", f"result {result.key}"]  # fmt: skip
    return facts if result.prediction is None else [*facts, f"operating point {result.prediction.operating_point}"]


def _remarks(result: Result) -> list[str]:
    """What a reader must know beside the figures."""
    remarks = []
    if result.reason is not None:
        remarks.append(f"Not assessed: {result.reason.message}")
    if result.frame_rule is not None:
        remarks.append(result.frame_rule)
    if result.prediction is not None and result.prediction.origin == "local":
        remarks.append("The threshold was chosen at this site; it is not the one that the model was delivered with.")
    if result.prediction_set is not None:
        remarks.append(result.prediction_set.meaning)
    if result.unlikeness is not None and result.unlikeness.out_of_distribution and result.prediction is not None:
        remarks.append("The image is unlike those that the model was trained on." if result.frames is None else
                       f"Frames unlike the images that the model was trained on: {strange_frames(result)} of "
                       f"{len(result.frames)}.")  # fmt: skip
    if not result.clock_trusted:
        remarks.append("The device's clock was wrong: dates and times of this report are not to be trusted.")
    return remarks
