"""Verifiable instructions: the 25 constraints of IFEval (arXiv 2311.07911) and the 58 of IFBench (arXiv 2507.02833)."""

from vivace.text.instructions.registry import CONSTRAINTS, Verdict, follows, judge, mended_notes

__all__ = ["CONSTRAINTS", "Verdict", "follows", "judge", "mended_notes"]
