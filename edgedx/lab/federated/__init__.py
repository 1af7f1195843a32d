"""Hospitals train one model together and share no image, by Flower, whose telemetry is off before it is imported."""

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
