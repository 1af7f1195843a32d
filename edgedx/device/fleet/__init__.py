"""A device as one of many: updates from a TUF repository, and its signed status for whoever looks after all of them."""
