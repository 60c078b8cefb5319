"""Measuring: suites, statistics, side-by-side comparison, the model card and the report. No torch here."""
