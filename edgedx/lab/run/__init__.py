"""The run folder: stages, checkpoints, what ships."""
