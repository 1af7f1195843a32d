"""Bundles on a device: trust, slots, trial, rollback, health."""
