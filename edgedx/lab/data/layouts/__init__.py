"""Public data sets as they are published: each reader turns a folder into rows, without reading a pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgedx.core.settings.recipe_sections import Data

from .brain_figshare import brain_figshare
from .brain_tumour import brain_tumour
from .busi import busi
from .cbis_ddsm import cbis_ddsm
from .chestxray14 import chestxray14
from .idrid import idrid
from .iq_othnccd import iq_othnccd
from .isic2018 import isic2018
from .kermany import kermany
from .listing import ListedEntry, Listing
from .luna16 import luna16
from .retinopathy import aptos2019, eyepacs
from .rsna_pneumonia import rsna_pneumonia
from .tuberculosis import tuberculosis

__all__ = ["LAYOUTS", "ListedEntry", "Listing"]

LAYOUTS: Mapping[str, Callable[[Path, Data], Listing]] = {
    "nih-chestxray14": chestxray14,
    "isic2018-task3": isic2018,
    "luna16": luna16,
    "eyepacs": eyepacs,
    "aptos2019": aptos2019,
    "cbis-ddsm": cbis_ddsm,
    "brain-tumour-mri": brain_tumour,
    "brain-tumour-figshare": brain_figshare,
    "tuberculosis-cxr": tuberculosis,
    "rsna-pneumonia": rsna_pneumonia,
    "kermany-pneumonia": kermany,
    "idrid": idrid,
    "busi": busi,
    "iq-othnccd": iq_othnccd,
}
"""Reader of each public set, by ``data.source``. A reader is a pure function of the folder and the data section.

Raises
------
DataError
    A file or column is missing; the message names it, the caller says where to get it.
"""
