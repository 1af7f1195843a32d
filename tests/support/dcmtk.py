"""dcmtk's programs. pynetdicom installs some of the same names, and a virtual environment comes first on the path."""

from __future__ import annotations

import os
import shutil
import subprocess


def dcmtk(program: str) -> str | None:
    """Path of a program of dcmtk; None where it is absent."""
    for folder in os.get_exec_path():
        found = shutil.which(program, path=folder)
        if found is not None:
            said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=60)
            if "dcmtk" in said.stdout:
                return found
    return None
