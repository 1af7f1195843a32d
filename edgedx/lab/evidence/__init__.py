"""What a reviewer would ask for."""
