"""Environments: package sources, layers, mutations, admission, grading, scripted experts. Imports without torch."""
