"""Networks: built, pruned, loaded, kept, and asked."""
