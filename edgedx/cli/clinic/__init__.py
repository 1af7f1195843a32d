"""Commands of a clinic's box in use."""
