"""What the page reads and never writes: the scanner's ledger, its results, its pictures, its heartbeat."""
