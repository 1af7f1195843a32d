"""The first hour with one's own images: a recipe guessed from them, and everything that training would complain about."""
