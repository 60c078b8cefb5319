"""Vivace: build, measure and ship a flash coding model."""

__version__ = "0.1.0"
