"""Onto a device over ssh, or without internet."""
