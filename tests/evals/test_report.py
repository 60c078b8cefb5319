import re
from html.parser import HTMLParser

import pytest
from attempts_by_hand import PATCH, make_attempt

from vivace.core.types import Attempt, Task
from vivace.evals.charts import Line, line_chart, short, ticks
from vivace.evals.compare import compare
from vivace.evals.report import Report, curves, diff_lines, pick_examples, render_report, token_spans

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Balance(HTMLParser):
    """Fails on a tag closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def a_stage(solved: int, tokens: int) -> list[Attempt]:
    return [make_attempt(f"t{i}", "ab"[i % 2], "solved" if i < solved else "failed", tokens + i) for i in range(12)]


def a_task(number: int) -> Task:
    return Task(
        id=f"t{number}", env="e", repo="ab"[number % 2], split="eval", licence="MIT", bug_patch="", gold_patch=PATCH,
        problem_statement="f(1, 2) <gives> -1", FAIL_TO_PASS=["tests/test_f.py::test_f"], PASS_TO_PASS=[],
    )


@pytest.fixture(scope="module")
def report() -> Report:
    stages = {"sft": a_stage(2, 150), "rl": a_stage(9, 90)}
    metrics = [{"stage": "sft", "step": i, "loss": 2 / (i + 1), "lr": 0.1} for i in range(200)]
    metrics += [{"stage": "sft", "step": 199, "heldout_loss": 0.4}]
    metrics += [{"stage": "rl", "step": i, "reward": i / 10, "pass_rate": i / 10, "tokens_mean": 200 - i,
                 "entropy": 1.0, "tokens_per_solved": None, "kl_mismatch": 1e-5} for i in range(8)]
    tasks = {f"t{i}": a_task(i) for i in range(12)}
    return Report("demo", compare(stages, baseline=a_stage(1, 0)), metrics, stages, tasks,
                  show=lambda token: {2: "<|end|>", 20: "&"}.get(token, f"w{token} "), notes=["tools 1234"])


def test_page_is_whole_escaped_and_self_contained(report: Report) -> None:
    page = render_report(report)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert "f(1, 2) &lt;gives&gt; -1 &amp; not 3" in page
    assert not re.search(r"<script|<link|src=|url\(|https?://(?!www\.w3\.org)", page)
    assert "prefers-color-scheme: dark" in page


def test_page_shows_every_part(report: Report) -> None:
    page = render_report(report)
    for part in ("75.0%", "rl − sft", "brute force", "training loss", "heldout loss", "mean reward", "reference fix",
                 '<span class="add">+    return a + b</span>', 'class="badge failed"', "tools 1234",
                 '<span class="p3" title="#5 id 31, sampled with p = 0.082 (logprob -2.500)">w31 </span>',
                 '<span class="given" title="#2 id 21, not sampled: no loss">w21 </span>'):
        assert part in page, part


def test_a_run_that_has_only_trained_so_far_still_has_a_page() -> None:
    metrics = [{"stage": "pretrain", "step": 1, "loss": 3.0}]
    page = render_report(Report("early", compare({}), metrics))
    assert "pretrain" in page
    assert "Evaluation" not in page


def test_solved_examples_come_from_the_last_stage_that_has_some() -> None:
    stages = {"sft": a_stage(3, 150), "mid2": a_stage(2, 120), "rl": a_stage(0, 90)}
    report = Report("demo", compare(stages), [], stages)
    assert [(e.stage, e.attempt.grade.status) for e in pick_examples(report)] == [
        ("mid2", "solved"), ("mid2", "solved"), ("rl", "failed"), ("rl", "failed"), ("rl", "failed"),
    ]  # fmt: skip
    page = render_report(report)
    assert '<span class="soft">mid2 · ' in page
    assert "No stage solved a task" not in page


def test_a_run_that_solved_nothing_says_so() -> None:
    stages = {"sft": a_stage(0, 150), "rl": a_stage(0, 90)}
    page = render_report(Report("demo", compare(stages), [], stages))
    assert page.count("No stage solved a task, so every example is a failed attempt.") == 1


def test_curves_skip_gaps_and_keep_stage_order(report: Report) -> None:
    groups = curves(report.metrics)
    assert [stage for stage, _ in groups] == ["sft", "rl"]
    assert len(groups[0][1]) == 2
    assert len(groups[1][1]) == 5  # tokens per solved was never defined: no empty chart


def test_diff_lines() -> None:
    assert [kind for kind, _ in diff_lines(PATCH)] == ["file", "file", "hunk", "same", "del", "add", "same"]


def test_token_shades_follow_logprobs() -> None:
    (row,) = token_spans(make_attempt().trajectory.segments, str)
    assert [kind for kind, _, _ in row] == ["given"] * 4 + ["p1", "p3", "p0"]


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1, 4) == [0, 0.25, 0.5, 0.75, 1.0]
    assert ticks(0.13, 9.7, 4) == [2.5, 5.0, 7.5]
    assert ticks(5, 5) == [5]
    assert [short(v) for v in (1234567, 1500, 0.05, 12)] == ["1.23M", "1.5k", "0.05", "12"]


def test_long_curves_stay_small_and_keep_their_mean() -> None:
    chart = str(line_chart("x", [Line("x", list(range(50_000)), [1.0] * 50_000)]))
    assert len(chart) < 25_000
    assert line_chart("x", [Line("x", [], [])]) == ""
