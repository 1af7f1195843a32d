"""Files of the clinic to arrays."""
