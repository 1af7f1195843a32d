"""The workstation half: torch lives here and nowhere else."""
