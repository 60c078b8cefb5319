"""Makes this folder importable from the tests below it (`tiny_package`)."""
