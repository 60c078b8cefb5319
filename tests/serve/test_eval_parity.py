"""A model behind our own server gets the same results as the same model in this process."""

from __future__ import annotations

from pathlib import Path

from tiny_server import running, tiny_target

from vivace.engine.client import NativeClient
from vivace.evals.runs import read_run
from vivace.evals.session import Model, Plan, evaluate
from vivace.evals.status import shipped
from vivace.evals.suites import get_suite
from vivace.harness.clients.openai import OpenAIClient
from vivace.serve.gateway import Gateway


def test_by_endpoint_and_in_process_the_results_are_identical(tmp_path: Path) -> None:
    served, own = tiny_target(), tiny_target()
    with running(Gateway({"tiny": served})) as url:
        models = [Model("endpoint", OpenAIClient(url, "tiny"), {"endpoint": url}),
                  Model("native", NativeClient(own.engine, own.renderer, name="native"), {"checkpoint": "tiny"})]
        names = ("gpqa-diamond", "ifbench", "aime2026")
        data = {name: (shipped(name), "sample") for name in names}
        evaluate(Plan([get_suite(name) for name in names], data, models[0], models[1:], {}, tmp_path, max_tokens=24,
                      workers=2))
    runs = {(run.suite, run.model): {a.task_id: a for a in run.attempts} for run in read_run(tmp_path)}
    for name in names:
        left, right = runs[name, "endpoint"], runs[name, "native"]
        assert set(left) == set(right)
        for item in left:
            a, b = left[item], right[item]
            assert a.trajectory.messages == b.trajectory.messages
            assert a.trajectory.usage.output_tokens == b.trajectory.usage.output_tokens > 0
            assert a.trajectory.usage.input_tokens == b.trajectory.usage.input_tokens
            assert a.grade == b.grade
