"""edgedx: train, shrink, prove and ship medical-image classifiers to small computers.

Not a medical device. Zones, named for where code runs, import one way:
``cli -> lab -> device -> dicom -> core``; torch lives in ``lab`` alone.
"""

__version__ = "0.1.0"
