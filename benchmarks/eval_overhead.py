"""What a runner costs beside the model: 1,000 trivial items, ours and Inspect, in alternating processes.

    python benchmarks/eval_overhead.py --inspect INSPECT/bin/python

INSPECT is an environment with inspect-ai 0.3; without one only ours is measured. The model answers at once from
memory; every item is a multiple-choice question graded by its letter. Seconds are those of the evaluation, memory is
the peak of the whole process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rows import Row, finish, parser, row

OURS = """
import json, resource, sys, time
from pathlib import Path
from vivace.core.types import Message
from vivace.evals.session import Model, Plan, evaluate
from vivace.evals.suites import get_suite
from vivace.harness.clients.scripted import ScriptedClient
count, folder = int(sys.argv[1]), Path(sys.argv[2])
head = "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3"
(folder / "data.csv").write_text(head + "".join(f"\\nr{n},What is {n}?,right,w1,w2,w3" for n in range(count)) + "\\n")
client = ScriptedClient(None, lambda messages: Message(role="assistant", content="ANSWER: A"), name="trivial")
start = time.monotonic()
result, whole = evaluate(Plan([get_suite("gpqa-diamond")], {"gpqa-diamond": (folder / "data.csv", "trivial")},
                              Model("trivial", client, {"n": 1}), [], {}, folder / "out", workers=16))
assert whole and result["suites"]["gpqa-diamond"]["models"]["trivial"]["n"] == count
print(json.dumps([time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
INSPECT = """
import json, resource, sys, time
import tiktoken
class Words:  # its mock model counts tokens with an encoding from the net; counting words costs it less
    def encode(self, text, **kwargs):
        return text.split()
tiktoken.get_encoding = lambda name: Words()
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice
count, folder = int(sys.argv[1]), sys.argv[2]
choices = ["right", "w1", "w2", "w3"]
data = [Sample(id=f"r{n}", input=f"What is {n}?", choices=choices, target="A") for n in range(count)]
reply = ModelOutput.from_content("mockllm/model", "ANSWER: A")
model = get_model("mockllm/model", custom_outputs=lambda *a, **k: reply)
start = time.monotonic()
log = eval(Task(dataset=MemoryDataset(data), solver=multiple_choice(), scorer=choice()), model=model, display="none",
           log_dir=folder, max_connections=16)[0]
took = time.monotonic() - start
assert log.status == "success" and len(log.samples) == count, (log.status, log.error)
print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--items", type=int, default=1000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--inspect", type=Path, help="an interpreter that has inspect-ai")
    chosen = options.parse_args()
    ours: list[tuple[float, float]] = []
    peer: list[tuple[float, float]] = []
    for _ in range(chosen.repeats):
        ours.append(measured(Path(sys.executable), OURS, chosen.items))
        if chosen.inspect:
            peer.append(measured(chosen.inspect, INSPECT, chosen.items))
    if not peer:
        print("only ours:", ", ".join(f"{s:.2f} s, {m:.0f} MB" for s, m in ours), "(no --inspect PYTHON)")
        return
    rows: list[Row] = []
    for name, unit, part in ((f"{chosen.items:,} trivial items", "s", 0), ("peak memory", "MB", 1)):
        pairs = sorted((a[part], b[part]) for a, b in zip(ours, peer, strict=True))
        mine, other = pairs[len(pairs) // 2]
        ratios = sorted(a[part] / b[part] for a, b in zip(ours, peer, strict=True))
        rows.append(row(name, mine, other, "inspect-ai, mockllm", unit, ratios[len(ratios) // 2]))
    finish(rows, chosen.json)


def measured(python: Path, script: str, items: int) -> tuple[float, float]:
    """(seconds of the evaluation, peak MB of its process)."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "INSPECT_LOG_DIR": folder}
        done = subprocess.run([str(python), "-c", script, str(items), folder], capture_output=True, text=True,
                              env=environment)
        if done.returncode:
            raise SystemExit(f"{python}: {done.stderr[-2000:]}")
        seconds, memory = json.loads(done.stdout.strip().splitlines()[-1])
        return float(seconds), float(memory)


if __name__ == "__main__":
    main()
