"""Commands by topic: parse, call, print."""
