"""Coded names of what a classifier says: standard codes where a class name has one meaning, else a scheme of our own.

99EDGEDX is private (PS3.16 8.2): a code of it says what the class is called in the bundle, and nothing more.
"""

from __future__ import annotations

import re

from pydicom.sr.coding import Code

from edgedx.core.files import sha256_bytes

PRIVATE = "99EDGEDX"

# SNOMED CT (SCT) as PS3.16 uses it, and DICOM (DCM). Names that may mean several things are left out on purpose:
# "effusion" is not yet a pleural effusion.
_FINDINGS: dict[str, Code] = {
    "normal": Code("17621005", "SCT", "Normal"),
    "opacity": Code("112001", "DCM", "Opacity"),
    "pneumonia": Code("233604007", "SCT", "Pneumonia"),
    "tuberculosis": Code("56717001", "SCT", "Tuberculosis"),
    "covid19": Code("840539006", "SCT", "COVID-19"),
    "pneumothorax": Code("36118008", "SCT", "Pneumothorax"),
    "pleuraleffusion": Code("60046008", "SCT", "Pleural effusion"),
    "pulmonaryedema": Code("19242006", "SCT", "Pulmonary edema"),
    "cardiomegaly": Code("8186001", "SCT", "Cardiomegaly"),
}

DECISION = Code("decision", PRIVATE, "Decision at the operating point")
ASSESSMENT = Code("assessment", PRIVATE, "Assessment by the algorithm")
PREDICTION_SET = Code("prediction-set", PRIVATE, "In the prediction set")


def finding_code(name: str) -> Code:
    """Code of a class; the same name gives the same code in every report."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return _FINDINGS.get(plain) or Code(_value(name), PRIVATE, _meaning(name))


def reason_code(code: str) -> Code:
    """Code of a refusal: ``MODALITY`` of edgedx is ``MODALITY`` of 99EDGEDX."""
    return Code(_value(code), PRIVATE, _meaning(f"Not assessed: {code}"))


def _value(name: str) -> str:
    """At most 16 characters (SH), two names never the same."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    return plain if plain == name and len(name) <= 16 else f"{plain[:9]}-{sha256_bytes(name.encode())[:6]}"


def _meaning(name: str) -> str:
    return name.replace("\\", "/").replace("_", " ").strip()[:64] or "unnamed"
