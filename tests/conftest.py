"""Set before anything is imported: tests never ask a hub for weights."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
