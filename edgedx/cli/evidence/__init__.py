"""Commands that measure models and compare them."""
