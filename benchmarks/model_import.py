"""Peak memory of bringing in a checkpoint: converting it, and loading it, beside transformers' from_pretrained.

A random Qwen3 model in bf16 and in shards is written first. Each row is a process of its own: the most it ever had
resident (VmHWM) above what it had after its imports, as a share of the checkpoint's size. At most 1.2 is the target.

    python benchmarks/model_import.py [--layers 12] [--json rows.json]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from rows import finish, parser, row
from vivace.model.checkpoint import expected_specs
from vivace.model.config import ModelConfig
from vivace.model.weights import write_weights
from vivace.text.tokenizer import train_tokenizer

MEASURE = """
import json, re, sys
def status(key): return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
source, out = sys.argv[1:]
{imports}
before = status("VmRSS")
{work}
print(json.dumps({{"peak": status("VmHWM") - before}}))
"""
TOUCH = "for p in model.parameters(): p.detach().view(torch.int16).max()"
"""Reads every weight once: transformers maps files, which are resident only when used."""
CASES = {
    "convert": ("from pathlib import Path\nfrom vivace.model.transfer import import_model",
                "import_model(source, Path(out))"),
    "load": ("import torch\nfrom pathlib import Path\nfrom vivace.model.checkpoint import load_checkpoint",
             "model = load_checkpoint(Path(source), verify=False, dtype=torch.bfloat16)[0]\n" + TOUCH),
    "transformers": ("import torch, transformers\nfrom transformers import Qwen3ForCausalLM",
                     "model = Qwen3ForCausalLM.from_pretrained(source, dtype=torch.bfloat16)\n" + TOUCH),
}  # fmt: skip


def write_source(folder: Path, layers: int) -> int:
    """A checkpoint as Hugging Face writes it; its bytes."""
    config = ModelConfig(
        model_type="qwen3", vocab_size=65536, hidden_size=1024, num_hidden_layers=layers, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, intermediate_size=3072, layer_types=["full_attention"] * layers,
        mlp_layer_types=["dense"] * layers, max_position_embeddings=4096,
    )
    specs = expected_specs(config, torch.bfloat16)
    write_weights(folder, specs, lambda name: torch.randn(specs[name].shape) * 0.02, 200_000_000)
    (folder / "config.json").write_text(json.dumps(config.to_hf()))
    train_tokenizer(["def f(x):\n    return x\n"], 300).save(folder)
    return sum(spec.nbytes for spec in specs.values())


def peak(case: str, source: Path, out: Path) -> float:
    imports, work = CASES[case]
    script = MEASURE.format(imports=imports, work=work)
    done = subprocess.run([sys.executable, "-c", script, str(source), str(out)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1])["peak"])


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--layers", type=int, default=12)
    options = options_of.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        source.mkdir()
        size = write_source(source, options.layers)
        share = {case: peak(case, source, out) / size for case in CASES}
    print(f"a Qwen3 checkpoint of {size / 1e6:,.0f} MB in bf16; peak memory as a share of it")
    finish([row(f"import: {name}", share[case], share["transformers"], "transformers from_pretrained", "x checkpoint")
            for case, name in (("convert", "vivace model import"), ("load", "into memory"))], options.json)  # fmt: skip


if __name__ == "__main__":
    main()
