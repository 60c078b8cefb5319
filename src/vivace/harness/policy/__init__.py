"""What an agent may do on a user's machine, decided at the tools and once more where files are written."""
