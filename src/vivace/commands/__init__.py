"""Commands, one module a topic: parse, call, print."""
