"""Is the model still where it was made for? What is watched at a clinic, and what a person is told of it."""
