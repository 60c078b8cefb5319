"""Edits of text: finding the place, refusing with reasons, checking what came of it. Pure functions."""
