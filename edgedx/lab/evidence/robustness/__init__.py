"""What worse and foreign images cost."""
