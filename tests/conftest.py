"""Set before anything is imported: tests never ask a hub for weights."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
# Two test processes share two cores: threads inside each would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
