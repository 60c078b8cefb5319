"""The commands of `vivace`, by topic: parse, call, print."""
