"""Codes of anatomy and projection as the terms that older elements have: (0018,0015) and (0018,5101).

Code values of SNOMED CT, and of SNOMED-RT as older writers have it (PS3.16 CID 4009, 4010 and 4014; annex L). Only what
recipes may ask for: any other code is `OTHER`, which no recipe lists, and so is not taken for an absent value.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

OTHER = "OTHER"
UNREADABLE = None
"""There is a code sequence, and no code can be read from it."""

_TERMS: dict[str, dict[str, tuple[str, ...]]] = {
    "AnatomicRegionSequence": {
        "CHEST": ("816094009", "51185008", "T-D3000"),
        "BREAST": ("76752008", "T-04000"),
        "ABDOMEN": ("818981001", "113345001", "T-D4000"),
        "PELVIS": ("816092008", "12921003", "T-D6000"),
        "HEAD": ("69536005", "T-D1100"),
        "SKULL": ("89546000", "T-11100"),
        "CSPINE": ("122494005", "T-11501"),
        "TSPINE": ("122495006", "T-11502"),
        "LSPINE": ("122496007", "T-11503"),
        "SHOULDER": ("16982005", "T-D2220"),
        "HAND": ("85562004", "T-D8700"),
        "HIP": ("29836001", "T-D2500", "24136001", "T-15710"),
        "KNEE": ("72696002", "T-D9200"),
        "FOOT": ("56459004", "T-D9700"),
    },
    "ViewCodeSequence": {
        "AP": ("399348003", "R-10206"),
        "PA": ("272479007", "R-10214", "R-40888"),
        "LL": ("399173006", "R-10236"),
        "RL": ("399198007", "R-10232"),
        "CC": ("399162004", "R-10242"),
        "MLO": ("399368009", "R-10226"),
        "ML": ("399260004", "R-10224"),
        "LM": ("399352003", "R-10228"),
    },
}


def coded_term(dataset: Dataset, keyword: str) -> str | None:
    """The term of the first item of a code sequence, `OTHER` where it has none; empty where there is no item.

    Parameters
    ----------
    keyword : str
        ``AnatomicRegionSequence`` (0008,2218) or ``ViewCodeSequence`` (0054,0220).

    Returns
    -------
    str or None
        None (`UNREADABLE`) where an item has no code, or cannot be parsed.
    """
    try:
        items = dataset.get(keyword)
        if not items:
            return ""
        item = items[0]
        code = str(item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or "").strip()
    except Exception:  # damaged
        return UNREADABLE
    if not code:
        return UNREADABLE
    return next((term for term, codes in _TERMS[keyword].items() if code in codes), OTHER)
