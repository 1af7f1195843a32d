"""Figures, intervals and limits that workstation and device both compute, in numpy alone."""
