"""What people write: recipes and device profiles, read strictly."""
