"""All that is known of a run, on one page."""
