"""DICOM objects received and sent."""
