"""Feed, tasks, and the one training loop; fine-tuning on top of it."""
