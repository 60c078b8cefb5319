"""The interactive `vivace agent`: a session on a terminal."""
