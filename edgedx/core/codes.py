"""Why an image has no prediction: THE table of reason codes. Readers, decoder, scanner, gate and docs all take it here.

The codes are stable across releases: results, logs and site scripts match on them.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

Outcome = Literal["refused", "quarantined"]


class Code(str, Enum):
    """Reason codes; each member says what it means and what a person may do about it.

    Attributes
    ----------
    outcome : str
        What the scanner ends with. ``refused``: the file is sound, and not what the model was made for.
        ``quarantined``: it could not be read; the scanner has then tried more than once.
    meaning, remedy : str
        Sentences, for docs/refusals.md.
    """

    outcome: Outcome
    meaning: str
    remedy: str

    def __new__(cls, code: str, outcome: Outcome, meaning: str, remedy: str) -> Code:
        member = str.__new__(cls, code)
        member._value_ = code
        member.outcome, member.meaning, member.remedy = outcome, meaning, remedy
        return member

    # fmt: off
    # Sound files that hold no image for a model.
    MULTI_FRAME = ("MULTI_FRAME", "refused", "More than one frame or page.",
        "Export the one frame, or set accept.multi_frame in the recipe where one frame is what the model learned from.")
    TOO_MANY_FRAMES = ("TOO_MANY_FRAMES", "refused", "More frames than are answered one by one.",
        "Export a part of the frames; or set accept.multi_frame to first or middle where one frame is enough.")
    DICOMDIR = "DICOMDIR", "refused", "A DICOMDIR: an index of files, not an image.", "Nothing; leave it out."
    REPORT = "REPORT", "refused", "A structured report or key object selection.", "Give the images that it refers to."
    RADIOTHERAPY = ("RADIOTHERAPY", "refused", "A radiotherapy plan, structure set, dose or record.",
        "Give the images that it refers to.")
    SEGMENTATION = ("SEGMENTATION", "refused", "A segmentation: labels, not an image.",
        "Give the images that it refers to.")
    PRESENTATION = ("PRESENTATION", "refused",
        "A presentation state, registration, fiducials, measurement or mapping object.",
        "Give the images that it refers to.")
    WAVEFORM = "WAVEFORM", "refused", "A waveform such as an ECG.", "Nothing; leave it out."
    DOCUMENT = "DOCUMENT", "refused", "An encapsulated document (PDF, CDA, model).", "Nothing; leave it out."
    NO_PIXELS = ("NO_PIXELS", "refused", "DICOM without pixel data, of no image class and of no class above.",
        "Open it in a viewer; where that shows an image, copy the file again.")
    BLANK = ("BLANK", "refused",
        "Every pixel has the same value: no exposure, or a decoder that cannot read its input.",
        "Look at the image in a viewer.")
    # Images that the model was not made for, in the order in which they are asked about (device/decode/accept.py).
    MODALITY = ("MODALITY", "refused", "Modality (0008,0060) is none that the recipe accepts.",
        "Route only the accepted modalities to this scanner.")
    BODY_PART = ("BODY_PART", "refused",
        "Body Part Examined (0018,0015) or Anatomic Region Sequence (0008,2218) is none that is accepted.",
        "Route only the accepted body parts; correct the protocol on the modality where it names another part.")
    VIEW = ("VIEW", "refused", "View Position (0018,5101) or View Code Sequence (0054,0220) is none that is accepted.",
        "Send the accepted projections; correct the protocol on the modality where it names another view.")
    LATERALITY = ("LATERALITY", "refused",
        "Image Laterality (0020,0062) or Laterality (0020,0060) is none that is accepted.",
        "Send the accepted side.")
    AGE = ("AGE", "refused", "The patient's age when the study was made is outside the range that the model knows.",
        "Have a person read it: nothing is known about how the model does at this age.")
    WINDOW = ("WINDOW", "refused",
        "Window Center (0028,1050), Width or VOI LUT is there and cannot be read, and the model's recipe uses it.",
        "Open it in a viewer, set the window there and send it again; or use a recipe with another preprocess.window.")
    RASTER = ("RASTER", "refused",
        "A PNG, JPEG, TIFF, BMP or WebP, which carries no header, and the recipe takes DICOM alone.",
        "Send the DICOM object; or set accept.raster in the recipe.")
    FOR_PROCESSING = ("FOR_PROCESSING", "refused", "Raw detector values (Presentation Intent Type FOR PROCESSING).",
        "Send the FOR PRESENTATION image of the same exposure; or set accept.for_processing in the recipe.")
    TOO_SMALL = ("TOO_SMALL", "refused", "Height or width is below the least that the recipe accepts.",
        "Send the original, not a thumbnail.")
    SATURATED = ("SATURATED", "refused",
        "So many pixels are black or white that the model would see little of the patient.",
        "Look at exposure and window in a viewer; export it again, or with another window.")
    OUT_OF_DISTRIBUTION = ("OUT_OF_DISTRIBUTION", "refused", "The image is unlike those that the model learned from.",
        "Have a person read it; where many are refused, compare the site's images with the training set.")
    # Files that cannot be read.
    EMPTY = "EMPTY", "quarantined", "The file has no bytes.", "Copy it again."
    UNKNOWN_FORMAT = ("UNKNOWN_FORMAT", "quarantined", "The content is none of DICOM, PNG, JPEG, TIFF, BMP, WebP.",
        "Export it in one of these; a DICOM file needs its Part 10 header.")
    NOT_DICOM = ("NOT_DICOM", "quarantined", "Read as DICOM, but without the DICM prefix at byte 128 (PS3.10 7.1).",
        "Export it as DICOM Part 10.")
    BROKEN_HEADER = ("BROKEN_HEADER", "quarantined",
        "A header cannot be parsed, or lacks or contradicts what decoding needs.",
        "Copy the file again; else ask the vendor of the modality.")
    HEADER_MISMATCH = ("HEADER_MISMATCH", "quarantined",
        "The pixels have another size than the header says: a compressed frame, or more bytes than the image has.",
        "Copy the file again; else ask the vendor of the modality.")
    TRUNCATED = ("TRUNCATED", "quarantined",
        "The file or its pixel stream ends early, or in zeros as an unfinished copy does.", "Copy the file again.")
    TOO_LARGE = ("TOO_LARGE", "quarantined", "The file or its decoded pixels exceed the byte budget.",
        "Crop or shrink it.")
    DEFLATED = ("DEFLATED", "quarantined", "Deflated transfer syntax: its size is unknown before it is inflated.",
        "Store it uncompressed or lossless, e.g. with dcmconv +te.")
    TRANSFER_SYNTAX = ("TRANSFER_SYNTAX", "quarantined", "No decoder for this transfer syntax or its bit depth.",
        "Store it uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000, e.g. with gdcmconv --raw.")
    PIXEL_FORMAT = ("PIXEL_FORMAT", "quarantined",
        "A sound file of a kind that is not read: bit depth, sample count, float or signed pixels, compression.",
        "Export it with 8 or 16 bits; a TIFF without compression or with LZW, Deflate, PackBits.")
    PHOTOMETRIC = ("PHOTOMETRIC", "quarantined", "A photometric interpretation or palette that edgedx does not read.",
        "Export it as MONOCHROME2 or RGB.")
    DECODE_FAILED = ("DECODE_FAILED", "quarantined", "The decoder refused the pixel stream.",
        "Copy the file again; else store it uncompressed.")
    DECODER_CRASH = ("DECODER_CRASH", "quarantined",
        "The decoder process died of this file, at each of three attempts.",
        "Copy the file again; else store it uncompressed.")
    DECODER_TIMEOUT = ("DECODER_TIMEOUT", "quarantined", "Decoding took longer than it may, at each of three attempts.",
        "Store it uncompressed.")
    DECODER_MEMORY = ("DECODER_MEMORY", "quarantined", "Decoding takes more memory than the decoder may have.",
        "Crop or shrink it.")
    INTERRUPTED = ("INTERRUPTED", "quarantined", "The scanner ended five times while it read this file.",
        "See the log for what ended it; then `edgedx scan retry`.")
    CHANGED = ("CHANGED", "quarantined", "Only by `edgedx gate`: the file changed after it was listed.",
        "Run it again when nothing writes into the folder.")
    NOT_RETRIEVED = ("NOT_RETRIEVED", "quarantined",
        "Only by `edgedx archive`: the PACS listed the object and does not give it; its answer is in the message.",
        "Ask whoever runs the PACS whether it was deleted or may not be sent to us; then begin again, another --out.")
    NOT_A_NUMBER = ("NOT_A_NUMBER", "quarantined", "The model's answer is not a number.",
        "Run `edgedx doctor`; install the bundle again.")
    # fmt: on
