"""Sessions on disk: an append-only tree of what was said and done, from which everything can be had back."""
