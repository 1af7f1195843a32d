"""Batches for training: canvases where the network is, drawn, augmented and normalised there."""
