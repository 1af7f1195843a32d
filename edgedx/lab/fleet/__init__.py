"""The workstation's side of a fleet: the repository that its devices take updates from, and the page about them all."""
