"""CyberSecEval's insecure-code rules, from the `codeshield` package: its regular expressions, without semgrep.

Only the rule files are read: importing the package needs semgrep. A line that starts as a comment is no finding.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.wheels import Wheel, unpacked

PACKAGE = Wheel("codeshield", "1.0.1", "cd3516a5006002e0e7400a98e5a4592256a37ce6caf5e162d45ed093eb548377",
                ("codeshield/insecure_code_detector/rules/",))
INCLUDES: Mapping[str, tuple[str, ...]] = {
    "cpp": ("c",), "objective_c": ("c",), "objective_cpp": ("objective_c", "c", "cpp")}
"""Languages whose rules also hold for another; these have no language-agnostic ones of their own."""
_NAMES = {"c++": "cpp", "c#": "csharp", "js": "javascript"}


def findings(language: str, code: str) -> list[str]:
    """CWE ids of the rules that a piece of code breaks.

    Raises:
        BadInput: there are no rules for the language.
        InfraError: the package cannot be fetched.
    """
    name = _NAMES.get(language.lower(), language.lower())
    found = []
    for rule in rules(name):
        match = re.search(rule["rule"], code)
        if match and not _comment(code[: match.start()].rsplit("\n", 1)[-1]):
            found.append(str(rule["cwe_id"]))
    return found


@functools.cache
def rules(language: str) -> list[dict[str, Any]]:
    """The rules that CyberSecEval uses for a language, with those of languages that it includes."""
    found = _file(language, language)
    for other in INCLUDES.get(language, ()):
        found = [*found, *rules(other)]
    return found if language in INCLUDES else [*found, *_file("language_agnostic", "language_agnostic")]


def identity() -> dict[str, str]:
    """Whose rules, and which part of them."""
    return {"codeshield": PACKAGE.version, "analyzers": "regex only"}


def _file(name: str, language: str) -> list[dict[str, Any]]:
    path = _folder() / "regex" / f"{name}.yaml"
    if not path.exists():
        raise BadInput(f"codeshield has no regex rules for {language!r}")
    enabled = _config().get(language, {}).get("regex", {}).get("rules", [])
    return [rule for rule in _yaml().safe_load(path.read_text()) or []
            if "pattern_id" not in rule or rule["pattern_id"] in enabled]


@functools.cache
def _config() -> dict[str, Any]:
    held = _yaml().safe_load((_folder() / "config.yaml").read_text())
    return dict(held["config"]["cyberseceval"])


def _folder() -> Path:
    return unpacked(PACKAGE) / "codeshield" / "insecure_code_detector" / "rules"


def _yaml() -> Any:
    try:
        return import_module("yaml")
    except ImportError:
        raise BadInput("CyberSecEval's rules are YAML: pip install 'vivace[eval]'") from None


def _comment(line: str) -> bool:
    line = line.strip()
    return line.startswith(("#", "//", "/*")) or line.endswith("*/")
