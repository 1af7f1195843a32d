"""Commands that bring a bundle onto a device and keep it there."""
