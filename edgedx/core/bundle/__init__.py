"""The signed file that carries a model to a device."""
