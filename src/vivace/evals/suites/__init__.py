"""Every benchmark, one small file each; imported when asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from vivace.core.errors import BadInput
from vivace.evals.suites.base import Suite

MODULES = {
    "vivace-bench": "vivace_bench", "aime2026": "aime2026", "amo-bench": "amo", "gpqa-diamond": "gpqa",
    "hle-text": "hle", "frontiermath-format": "frontiermath", "frontierscience": "frontierscience",
    "ifbench": "ifbench", "ifbench-mended": "ifbench:MENDED", "robust-if": "robust_if", "advanced-if": "advanced_if",
    "swebench-verified": "swebench", "swebench-multilingual": "swebench:MULTILINGUAL", "swebench-pro": "swebench_pro",
    "cyberseceval-instruct": "cyberseceval", "cyberseceval-autocomplete": "cyberseceval:AUTOCOMPLETE",
    "cyberseceval-frr": "cyberseceval:FALSE_REFUSALS", "cyberseceval-injection": "cyberseceval:INJECTION",
    "artifacts-bench": "artifacts", "cyberbench": "cyberbench", "secrepobench": "secrepobench",
    "tau2-telecom": "tau2_telecom", "terminal-bench-2.0": "terminal_bench",
    "terminal-bench-2.1": "terminal_bench:REPAIRED",
}
"""Module of every suite, and its name there if that is not SUITE."""


def get_suite(name: str) -> Suite:
    """BadInput names the nearest one there is."""
    if name not in MODULES:
        near = get_close_matches(name, MODULES, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(MODULES)}"
        raise BadInput(f"no suite {name!r}; {hint}")
    module, _, attribute = MODULES[name].partition(":")
    suite: Suite = getattr(import_module(f"vivace.evals.suites.{module}"), attribute or "SUITE")
    return suite
