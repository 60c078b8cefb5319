"""The benchmarks of a model card: every suite there is, in the reference card's order, measured or missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from vivace.core.errors import BadInput
from vivace.core.files import read_json
from vivace.core.types import Record
from vivace.evals import table
from vivace.evals.marks import markdown_table

ORDER = (
    "vivace-bench", "swebench-verified", "swebench-pro", "swebench-multilingual", "terminal-bench-2.0",
    "terminal-bench-2.1", "aime2026", "amo-bench", "frontiermath-format", "hle-text", "gpqa-diamond", "frontierscience",
    "artifacts-bench", "ifbench", "ifbench-mended", "advanced-if", "robust-if", "tau2-telecom",
)
SAFETY = ("cyberseceval-instruct", "cyberseceval-autocomplete", "cyberseceval-frr", "cyberseceval-injection",
          "secrepobench", "cyberbench")
ABSENT = "missing"
MADE_WITH = ("data", "grader", "harness", "limits", "sampling", "roles", "sandbox")
HEADER = ["benchmark", "n × k", "pass [95%]", "tokens (K)", "baseline pass", "baseline tokens (K)", "difference [95%]",
          "Holm p", "source"]


class Measured(Record):
    """One suite's figures of the card's model, beside the baseline's."""

    title: str
    cells: list[str]
    """In the columns of HEADER, without the first and the last."""
    source: int
    """Number of the evaluation, from 1."""
    folder: str
    """Of the model's attempts, as seen from the card."""
    method: list[str] = Field(default_factory=list)
    identity: dict[str, Any] = Field(default_factory=dict)
    """What tells the model from others."""
    sample: bool = False


class Evaluation(Record):
    """One folder of `vivace eval`."""

    folder: str
    command: str
    baseline: str


class Benchmarks(Record):
    """Everything that evaluations say about one model. Empty: nothing was measured."""

    model: str = ""
    measured: dict[str, Measured] = Field(default_factory=dict)
    evaluations: list[Evaluation] = Field(default_factory=list)
    definitions: list[str] = Field(default_factory=list)

    def checkpoints(self) -> set[str]:
        """Digests of the weights that were measured, if the model was a checkpoint."""
        return {str(held.identity["checkpoint"]) for held in self.measured.values() if "checkpoint" in held.identity}

    def coverage(self) -> str:
        """How many of the benchmarks were measured, and how many only on authored samples."""
        parts = []
        for words, names in (("capability", ORDER), ("safety", SAFETY)):
            held = [self.measured[name] for name in names if name in self.measured]
            samples = sum(one.sample for one in held)
            parts.append(f"{len(held)} of {len(names)} {words} benchmarks"
                         + (f" ({samples} of them on authored samples only)" if samples else ""))
        return f"Measured: {' and '.join(parts)}; the others are missing."

    def table(self, *, safety: bool) -> str:
        """All suites of a kind as Markdown, figures linked to the attempts they are of; missing ones say so."""
        from vivace.evals.suites import MODULES

        wanted = SAFETY if safety else (*ORDER, *(name for name in MODULES if name not in (*ORDER, *SAFETY)))
        return markdown_table(HEADER, [self._row(name) for name in wanted])

    def _row(self, name: str) -> list[str]:
        held = self.measured.get(name)
        if held is None:
            return [name, "–", ABSENT, *["–"] * (len(HEADER) - 3)]
        size, rate, *rest = held.cells
        return [held.title, size, f"[{rate}]({held.folder}/attempts.jsonl)", *rest, f"run {held.source}"]


def collect(runs: Sequence[Path], card: Path, model: str | None = None) -> Benchmarks:
    """What evaluations say about one model (default: the first that is not a baseline). `card`: folder of the card.

    Raises:
        BadInput: a folder holds no evaluation, the model is in none of them, or two of them measured the same suite.
    """
    results = [(run, read_json(run / "evaluation.json", "name folders that `vivace eval --out` made")) for run in runs]
    found = Benchmarks(model=model or _first(results))
    for number, (run, result) in enumerate(results, 1):
        where = Path(os.path.relpath(run.resolve(), card.resolve())).as_posix()
        baselines = {suite["baseline"] for suite in result["suites"].values()}
        found.evaluations.append(Evaluation(folder=where, command=result.get("command", ""),
                                            baseline=", ".join(sorted(baselines))))
        found.definitions = found.definitions or list(result["definitions"])
        for name, suite in result["suites"].items():
            if found.model not in suite["models"]:
                continue
            if name in found.measured:
                raise BadInput(f"{name} was measured in {found.measured[name].folder} and in {run}; name one of them")
            found.measured[name] = _measured(name, suite, found.model, number, where)
    if not found.measured:
        suites = [suite for _, result in results for suite in result["suites"].values()]
        known = sorted({label for suite in suites for label in suite["models"]})
        raise BadInput(f"no measurement of {found.model} there; the models are {', '.join(known)}")
    return found


def _first(results: Sequence[tuple[Path, dict[str, Any]]]) -> str:
    for _, result in results:
        for suite in result["suites"].values():
            return str(next(iter(suite["differences"]), suite["baseline"]))
    raise BadInput("there is no evaluation in these folders; name folders that `vivace eval --out` made")


def _measured(name: str, suite: dict[str, Any], model: str, number: int, where: str) -> Measured:
    own, base = suite["models"][model], suite["models"][suite["baseline"]]
    against = suite["differences"].get(model)
    cells = [f"{own['n']} × {own['repeats']}", f"{table.percent(own['pass_rate'])} {table.interval(own['ci95'], 100)}",
             _thousands(own["tokens_mean"]), *["–"] * 4]
    if against is not None:
        gap = "–" if against["pass_diff"] is None else f"{100 * against['pass_diff']:+.1f}"
        cells[3:] = [table.percent(base["pass_rate"]), _thousands(base["tokens_mean"]),
                     f"{gap} {table.interval(against['interval'], 100, sign=True)}", table.p_value(against["p_holm"])]
    identity = suite["identity"]
    method = [f"{key}: `{identity[key]}`" for key in MADE_WITH if identity.get(key)]
    return Measured(title=suite["title"], cells=cells, source=number, folder=f"{where}/{name}/{model}", method=method,
                    identity=own.get("identity") or {},
                    sample=identity["data"].get("source") == "sample")


def _thousands(tokens: float | None) -> str:
    return "–" if tokens is None else f"{tokens / 1000:.2f}"
