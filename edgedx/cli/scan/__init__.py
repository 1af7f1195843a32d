"""``edgedx scan`` and what belongs to a scanner: its state, its quarantine, its outbox, its log, its copies."""
