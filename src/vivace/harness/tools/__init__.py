"""The tools, one file each, and the registry that publishes, validates and runs them."""
