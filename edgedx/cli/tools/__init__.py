"""Commands about this machine, recipes, device profiles and data."""
