"""stdlib, numpy, opencv, pydantic, yaml: shared by workstation and device."""
