"""What keeps a scanner running and tells how it does."""
