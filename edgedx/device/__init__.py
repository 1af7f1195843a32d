"""What a clinic's box runs: core + dicom, never torch."""
