"""Inspect as runner, log format and viewer. Only this package imports inspect_ai; `pip install 'vivace[inspect]'`."""
