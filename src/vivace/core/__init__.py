"""The nouns that flow through Vivace (tasks, trajectories, grades, runs) and their plumbing. No torch here."""
