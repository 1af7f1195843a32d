"""The page of a clinic's box: what the scanner found, for the people in front of it."""
