"""Agreement of our graders with the upstream ones, on real, authored and generated answers.

    pip install --target UP --no-deps lm_eval==0.4.13 immutabledict absl-py inspect_evals==0.26.0 rouge-score toml
    python benchmarks/grader_parity.py --packages UP --ifbench CHECKOUT --amo CHECKOUT --artifacts CHECKOUT

UP is such a folder; inspect-ai comes with vivace[inspect]. IFBench, AMO-Bench and ArtifactsBench are on no package
index: give checkouts of allenai/IFBench, meituan-longcat/AMO-Bench and Tencent-Hunyuan/ArtifactsBenchmark. What is not
there is skipped, and said so. Every disagreement is listed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from parity import dialogues, instructions, mathematics, security, summaries
from parity.compare import Pair, count
from rows import Row, parser
from vivace.core.files import write_json


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--packages", type=Path, action="append", default=[], help="folders to import upstream from")
    options.add_argument("--ifbench", type=Path, help="a checkout of allenai/IFBench")
    options.add_argument("--amo", type=Path, help="a checkout of meituan-longcat/AMO-Bench")
    options.add_argument("--artifacts", type=Path, help="a checkout of Tencent-Hunyuan/ArtifactsBenchmark")
    options.add_argument("--show", type=int, default=10, help="disagreements printed of each kind")
    options.add_argument("--only", default="", help="graders whose name holds this")
    chosen = options.parse_args()
    sys.path += [str(path) for path in chosen.packages]
    graders: dict[str, Callable[[], Iterator[Pair]]] = {
        "ifeval, lm_eval 0.4.13": instructions.ifeval,
        "ifbench, allenai/IFBench": lambda: instructions.ifbench(chosen.ifbench),
        "amo-bench, meituan-longcat/AMO-Bench": lambda: mathematics.amo_bench(chosen.amo),
        "aime2026, inspect_evals 0.26.0": mathematics.aime, "gpqa-diamond, inspect-ai": mathematics.choices,
        "cyberseceval rules (regex), inspect_evals 0.26.0": security.rules,
        "cyberseceval refusals, inspect_evals 0.26.0": security.refusals,
        "tau2-telecom verdicts, inspect_evals 0.26.0": dialogues.verdicts,
        "cyberbench ROUGE, rouge_score": summaries.scores,
        "artifacts-bench extraction, ArtifactsBenchmark": lambda: summaries.artifact(chosen.artifacts),
    }
    rows: list[Row] = []
    for name, pairs in graders.items():
        if chosen.only not in name:
            continue
        try:
            found = count(pairs())
        except ImportError as error:
            print(f"{name}: not compared ({error})", flush=True)
            continue
        print(f"{name}: {found.agree} of {found.total} agree ({found.positive} with a finding upstream)", flush=True)
        for kind, apart in sorted(found.apart.items()):
            print(f"  {kind}: {len(apart)}")
            print("\n".join(f"    {line}" for line in apart[: chosen.show]))
        grader, _, peer = name.partition(", ")
        rows.append({"name": grader, "ours": found.agree, "peer": found.total, "peer_name": peer,
                     "unit": "same verdicts", "ratio": round(found.agree / max(found.total, 1), 4)})
    if chosen.json:
        write_json(chosen.json, rows)


if __name__ == "__main__":
    main()
