"""Who may come in to the page, and by which way: addresses, certificate, people, sessions, limits, the audit chain."""
