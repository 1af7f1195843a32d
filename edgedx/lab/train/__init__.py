"""Networks, tasks, feed, and the one training loop."""
