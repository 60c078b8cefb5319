"""ArtifactsBench, CyberBench, SecRepoBench and benchmarks that are measured by a score."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from attempts_by_hand import has_browser, make_attempt

from vivace.core.errors import BadInput
from vivace.core.types import Completion, Grade, Message, Pictured, Sampling
from vivace.evals import compare
from vivace.evals.cardtable import build, detail, markdown
from vivace.evals.graders import arvo
from vivace.evals.graders.rouge import rouge
from vivace.evals.runs import SuiteRun
from vivace.evals.status import answers, shipped
from vivace.evals.suites import artifacts, cyberbench, get_suite
from vivace.evals.suites.base import Bench
from vivace.evals.suites.rows import rows
from vivace.evals.suites.secrepobench import completion
from vivace.harness.clients.chat_wire import ChatDialect
from vivace.harness.clients.responses_wire import ResponsesDialect


class Looks:
    """A judge that keeps what it is shown."""

    codec, name = None, "looks"

    def __init__(self, *replies: str) -> None:
        self.replies, self.seen = list(replies), list[Message]()

    def complete(self, messages: Any, **rest: Any) -> Completion:
        self.seen.append(messages[0])
        return Completion(message=Message(role="assistant", content=self.replies.pop(0)))


PAGE = """<html><body><p id="n">0</p><script>
setInterval(() => { n.textContent = Number(n.textContent) + 1 }, 300)
</script></body></html>"""


@pytest.mark.slow
@pytest.mark.skipif(not has_browser(), reason="no Chromium")
def test_the_judge_sees_the_page_change() -> None:
    case = artifacts.load(shipped("artifacts-bench"))[0]
    judge = Looks("no idea", '{"Overall Score": "70"} or rather {"Overall Score": 85.5}')
    grade = artifacts.grade(case, f"Here:\n{PAGE}", Bench({"judge": judge}))
    assert (grade.status, grade.scores) == ("solved", {"score": 0.855, "rendered": 1.0})
    message = judge.seen[-1]
    assert isinstance(message, Pictured)
    shots = [base64.b64decode(image) for image in message.images]
    assert [shot[:8] for shot in shots] == [b"\x89PNG\r\n\x1a\n"] * 3
    assert shots[0] != shots[2]
    assert case.target["checklist"][0] in message.content


def test_what_is_taken_for_the_artifact_and_the_score() -> None:
    two = "<svg>1</svg> <html>2</html> <html lang='x'>3</html> <svg>4</svg>"
    assert artifacts.artifact(two) == "<html lang='x'>3</html>"
    fenced = "```html\n<html><link rel='stylesheet' href='a.css'></html>\n```\nstyles.css\n```css\nb {}\n```"
    assert artifacts.artifact(fenced) == "<html><link rel='stylesheet' href='a.css'></html>\n"  # another file's name
    assert artifacts.artifact(fenced.replace("styles.css", "Its style:")) == "<html><style>b {}\n</style></html>\n"
    assert artifacts.artifact("<svg a>1</svg><svg>2</svg>") == "<svg>2</svg>"
    assert artifacts.artifact("<html> unfinished") is None
    assert artifacts.verdict('"Overall Score": 130') == 100.0
    assert artifacts.verdict('{"总体打分": "42"}') == 42.0
    assert artifacts.verdict("Overall Score: 42") is None


def test_an_answer_without_a_page_is_judged_on_its_text() -> None:
    case = artifacts.load(shipped("artifacts-bench"))[0]
    judge = Looks('{"Overall Score": "10"}')
    grade = artifacts.grade(case, "I would write a page.", Bench({"judge": judge}))
    assert grade.scores == {"score": 0.1, "rendered": 0.0}
    assert "could not be rendered" in judge.seen[0].content
    assert artifacts.grade(case, "x", Bench({"judge": Looks(*["?"] * 4)})).status == "invalid"
    native = Looks()
    native.codec = object()  # type: ignore[assignment]
    with pytest.raises(BadInput, match="sees no images"):
        artifacts.grade(case, "x", Bench({"judge": native}))


def test_images_go_over_the_wire_in_both_dialects() -> None:
    message = Pictured(role="user", content="look", images=["QUJD"])
    chat = ChatDialect().body("m", [message], [], Sampling(), None, False)["messages"][0]["content"]
    assert chat == [{"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]
    body = ResponsesDialect().body("m", [message], [], Sampling(), None, False)["input"][0]["content"]
    assert body[1] == {"type": "input_image", "image_url": "data:image/png;base64,QUJD"}


def test_json_lines_under_the_name_of_json(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"index": 1}\n{"index": 2}\n')
    assert [row["index"] for row in rows(file)] == [1, 2]
    file.write_text('{"index": 1')
    with pytest.raises(BadInput, match="is damaged"):
        rows(file)


@pytest.mark.parametrize(("said", "score", "status"), [
    ('{"Malware": ["Kupferdieb"], "System": ["Windows"], "Organization": ["Nordwall Labs"]}', 1.0, "solved"),
    ('{"Malware": ["Kupferdieb"]}', 0.5, "failed"), ("not JSON", 0.0, "failed"),
    ('{"Malware": "Kupferdieb"}', 0.0, "failed"),
])  # fmt: skip
def test_entities(said: str, score: float, status: str) -> None:
    case = next(one for one in cyberbench.load(shipped("cyberbench")) if one.cluster == "cyner")
    grade = cyberbench.grade(case, said, Bench())
    assert (grade.scores["score"], grade.status) == (score, status)


def test_published_figures_of_cyberbench_are_over_whole_data_sets() -> None:
    cases = cyberbench.load(shipped("cyberbench"))

    def figures(email: str) -> dict[str, float]:
        attempts = []
        for case in cases:
            gold = answers("cyberbench")[case.id]["gold"]
            grade = cyberbench.grade(case, email if email and case.cluster == "email" else gold, Bench())
            attempts.append(make_attempt(case.id).model_copy(update={"repo": case.cluster, "grade": grade}))
        return cyberbench.figures(attempts)

    assert figures("")["cyberbench"] == 1.0
    found = figures("phishing")
    assert found["email"] == pytest.approx(2 / 3)  # one of one found, and one too many
    assert found["cyner"] == found["secmmlu"] == found["cynews"] == 1.0
    assert found["cyberbench"] == pytest.approx((3 + 2 / 3) / 4)
    assert cases[0].messages[0].content.count("Output:") == 2  # one example of the same set, and the question


def test_rouge_by_hand() -> None:
    found = rouge("the cat sat on the mat", "the cat lay on a mat")
    assert found == pytest.approx({"rouge1": 4 / 6, "rouge2": 1 / 5, "rougeL": 4 / 6})
    assert rouge("", "x") == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}


@pytest.mark.parametrize(("code", "output", "found"), [
    (0, "NOTE: fuzzing was not performed, ...", "pass"), (1, "==12==ERROR: AddressSanitizer: heap", "crash"),
    (1, "x.c:3: runtime error: shift", "crash"), (4, "cc: error", "error"), (0, "", "error"),
    (0, "Execution successful.", "pass"), (1, "Execution successful.", "error"), (0, "==1==ERROR: x", "error"),
])  # fmt: skip
def test_what_an_exploit_did(code: int, output: str, found: str) -> None:
    assert arvo.outcome(code, output) == found


def test_tests_by_a_projects_patterns() -> None:
    pattern = r"(?P<status>PASS|FAIL): (?P<name>\S+)"
    assert arvo.passed("\x1b[32mPASS\x1b[0m: a\nFAIL: b\nPASS: c\n", "yara", pattern) == ["a", "c"]
    assert arvo.passed("ran a\nran b\n", "file", [r"ran (?P<name>\w)"]) == ["a", "b"]
    assert arvo.passed("## one\n## two\nx error : y\n## three\n", "libxml2", "") == ["one", "three"]
    counts = r"Testing (?P<name>.*?)\.\.\.[\s\S]*?failures: (?P<num_unexpected_failures>\d+)\n"
    assert arvo.passed("Testing a...\nfailures: 0\nTesting b...\nfailures: 2\n", "htslib", counts) == ["a"]
    assert arvo.passed("x", "none", None) == []


def test_constants_of_a_file_are_read_and_not_run() -> None:
    source = 'import os\na = "x" "y"\nb = {"k": a + "z", "l": [r"\\d"]}\nc = os.getcwd()\nd: int = 1\n'
    assert arvo.constants(source) == {"a": "xy", "b": {"k": "xyz", "l": ["\\d"]}}
    with pytest.raises(BadInput, match="are not Python"):
        arvo.constants("a = (")
    assert arvo.unquoted('make -j\\$(nproc) \\"a\\" \\\n b \\n') == 'make -j$(nproc) "a"  b \\n'


def test_code_that_works_and_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    from vivace.evals import containers

    monkeypatch.setattr(containers, "engine", lambda: None)
    suite = get_suite("secrepobench")
    case = suite.load(shipped("secrepobench"))[0]
    assert suite.grade is not None
    held = answers("secrepobench")[case.id]
    assert suite.grade(case, held["gold"], Bench()).solved
    unsafe = suite.grade(case, held["wrong"], Bench())
    assert (unsafe.status, unsafe.scores) == ("failed", {"correct": 1.0, "secure": 0.0, "compiled": 1.0})
    assert suite.grade(case, "```c\nreturn 0 }\n```", Bench()).scores["compiled"] == 0.0
    moved = case.model_copy(update={"target": {**case.target, "images": "/nowhere"}})
    assert "needs the image n132/arvo:90001-fix" in suite.grade(moved, held["gold"], Bench()).detail
    assert completion("so\n```c\na\n```\n```\nb\n```") == "a"


def scored(model: str, *scores: float, **grader: Any) -> SuiteRun:
    attempts = [make_attempt(f"t{n}").model_copy(update={
        "grade": Grade(status="solved" if score >= 0.6 else "failed", scores={"score": score})})
        for n, score in enumerate(scores)]
    return SuiteRun(Path(model), {"suite": "artifacts-bench", "grader": grader}, attempts)


def test_a_benchmark_may_be_measured_by_a_score() -> None:
    base, run = scored("a", 0.2, 0.4, 0.7, measure="score"), scored("b", 0.5, 0.3, 0.9, measure="score")
    result = build({"artifacts-bench": (base, [run])}, {})
    suite = result["suites"]["artifacts-bench"]
    assert suite["models"]["b"]["pass_rate"] == pytest.approx(1.7 / 3)
    assert suite["models"]["b"]["solved_rate"] == pytest.approx(1 / 3)
    assert suite["differences"]["b"]["pass_diff"] == pytest.approx(0.4 / 3)
    assert suite["differences"]["b"]["p"] == pytest.approx(0.5)  # of eight sign patterns four are as far out
    assert "56.7%" in markdown(result)
    plain = build({"artifacts-bench": (scored("a", 0.2, 0.4, 0.7), [])}, {})
    assert plain["suites"]["artifacts-bench"]["models"]["a"]["pass_rate"] == pytest.approx(1 / 3)


def test_several_draws_are_said_as_pass_at_and_pass_all() -> None:
    attempts = [make_attempt("t", status=status, sample=n) for n, status in enumerate(("solved", "failed", "solved"))]
    row = detail(attempts)
    assert row["pass_at"] == {"2": 1.0}
    assert row["pass_all"] == {"2": pytest.approx(1 / 3)}
    assert detail(attempts[:1])["pass_at"] == {}
    assert compare.items(attempts)["t"].value == pytest.approx(2 / 3)
    json.dumps(row)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("rouge_score") is None, reason="no rouge_score")
def test_rouge_as_the_package() -> None:
    from parity import summaries
    from parity.compare import count

    found = count(summaries.scores())
    assert found.total >= 200
    assert not found.apart
