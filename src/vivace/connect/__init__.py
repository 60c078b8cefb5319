"""Writing the entries by which editors find Vivace, without losing anything of the files they go into."""
