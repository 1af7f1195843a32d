"""From the inbox to a durable result."""
