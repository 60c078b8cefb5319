"""Graders beside their upstream implementations."""
