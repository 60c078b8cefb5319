"""What becomes of an agent's changes, noted on this machine only and only where the user has asked for it."""
