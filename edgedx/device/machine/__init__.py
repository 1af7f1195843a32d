"""Facts about this box, and whether a bundle fits it."""
