"""A judge that follows rules, for the status page and tests: it reads the prompts that real judges are given.

Authored items are written so that a rule can tell: reference answers word for word, rubrics about quoted words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from vivace.core.types import Message
from vivace.harness.clients.scripted import ScriptedClient


def rule_judge() -> ScriptedClient:
    """A judge for every suite that needs one."""
    return ScriptedClient(None, lambda messages: Message(role="assistant", content=reply(messages)), name="rule")


def reply(messages: Sequence[Message]) -> str:
    """What the judge says to a prompt of `hle`, `amo`, `frontierscience`, `advanced_if` or `artifacts`."""
    text = messages[-1].content
    if "[correct_answer]:" in text:
        return _hle(text)
    if "### Student Answer" in text:
        return _amo(text)
    if "[checklist]" in text:
        return _artifact(text)
    if "[rubric]" in text:
        return _rubric(text)
    if "\n\nQuestion: Does the response contain " in text:
        return _contains(text)
    return _science(text)


def _hle(text: str) -> str:
    said = re.findall(r"^Answer: (.+)$", text.split("[response]:")[-1].split("[correct_answer]:")[0], re.MULTILINE)
    wanted = text.split("[correct_answer]:")[-1].strip().split("\n")[0].strip()
    right = bool(said) and said[-1].strip() == wanted
    return json.dumps({"extracted_final_answer": said[-1] if said else None, "reasoning": "by rule",
                       "correct": "yes" if right else "no", "confidence": 80})


def _amo(text: str) -> str:
    wanted, said = (_between(text, f"### {name} Answer\n", end) for name, end in (
        ("Reference", "\n\n### Student"), ("Student", "\n\nReason")))
    return f"### Conclusion: {'Correct' if wanted == said else 'Incorrect'}"


def _science(text: str) -> str:
    answer = _between(text, "The attempted answer: ", "\n\n").lower()
    if "The rubric:" not in text:
        wanted = _between(text, "The reference answer: ", "\n\n").lower()
        return f"GRADE: {'C' if answer.split('answer:')[-1].strip(' .') == wanted else 'I'}"
    items = re.findall(r'Points: ([\d.]+), Item: names "([^"]+)"', text)
    return f"VERDICT: {sum(float(points) for points, words in items if words.lower() in answer):g}"


def _rubric(text: str) -> str:
    answer = _between(text, "[response]\n", "\n\n[rubric]")
    asked = re.findall(r'^(question_\d+): Does the response (contain|avoid) "([^"]+)"', text, re.MULTILINE)
    met = {name: ((words in answer) == (kind == "contain")) for name, kind, words in asked}
    return json.dumps({"rubrics_check": {name: f"by rule: {'YES' if good else 'NO'}" for name, good in met.items()},
                       "SATISFIED_ALL_REQUIREMENTS": "YES" if met and all(met.values()) else "NO"})


def _artifact(text: str) -> str:
    """Points for each item whose quoted words stand in the answer; none at all where there are no screenshots."""
    answer, items = _between(text, "[answer]\n", "\n\n[checklist]"), text.split("[checklist]\n")[-1]
    asked = re.findall(r'^The page shows "([^"]+)"', items, re.MULTILINE)
    met = sum(words in answer for words in asked) if "there are no screenshots" not in text else 0
    return json.dumps({"Overall Score": f"{100 * met / len(asked):g}"})


def _contains(text: str) -> str:
    words = _between(text, 'Question: Does the response contain "', '"')
    return "Yes" if words in text.split("\n\nQuestion:")[0].split("Response:")[-1] else "No"


def _between(text: str, start: str, end: str) -> str:
    return text.split(start)[-1].split(end)[0].strip()
