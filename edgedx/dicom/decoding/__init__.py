"""Coded pixels to arrays, strictly: what a decoder only warns of is refused."""
