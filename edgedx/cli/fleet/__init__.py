"""``edgedx fleet``: many devices from one repository."""
