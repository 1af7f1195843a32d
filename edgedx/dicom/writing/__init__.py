"""Results and made-up images to DICOM objects."""
