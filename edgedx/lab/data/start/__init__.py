"""The first hour with one's own images: a recipe guessed from them, and all that training would complain about."""
