"""Attacks on a sandbox that are really carried out: by the self-test before anything runs, and by the tests."""
