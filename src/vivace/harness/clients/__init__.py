"""Things that answer: a scripted policy, and any OpenAI-compatible endpoint."""
