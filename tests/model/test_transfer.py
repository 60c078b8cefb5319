"""Out to transformers and in from it, with tokenizer: the same text both ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_import_parity import foreign
from tokenizers import AddedToken
from tokenizers import Tokenizer as HFTokenizer

from vivace.core.errors import BadInput
from vivace.core.types import Message, Sampling, ToolCall
from vivace.engine import Engine
from vivace.model.checkpoint import load_checkpoint, save_checkpoint
from vivace.model.transfer import export_model, import_model
from vivace.model.weights import Weights
from vivace.text.chat import Renderer
from vivace.text.foreign import adapt_tokenizer
from vivace.text.tokenizer import Tokenizer, train_tokenizer

NANO = Path(__file__).parents[2] / "models" / "nano-base"
TALK = [
    Message(role="system", content="Fix  code.\n"), Message(role="user", content="`x` is wrong:\n  a < b"),
    Message(role="assistant", content="", tool_calls=[
        ToolCall(name="read_file", arguments={"filePath": "a b.py", "lines": [1, 2], "all": True}),
        ToolCall(name="t")]),
    Message(role="tool", content=" 1 | é\n"), Message(role="assistant", content="Done."),
]  # fmt: skip


@pytest.mark.slow
def test_transformers_speaks_the_exported_model(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    export_model(NANO, tmp_path / "m", torch.float32)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "m", dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    ours, _ = load_checkpoint(NANO)
    for effort in (None, "low"):
        renderer = Renderer(Tokenizer.load(NANO), effort)
        talk = [message.model_dump() for message in TALK]
        text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True, reasoning_effort=effort)
        ids = [*renderer.render(TALK)[0], *renderer.generation_prompt()]
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
        batch = torch.tensor([ids])
        with torch.no_grad():
            torch.testing.assert_close(theirs(batch).logits, ours(batch), atol=1e-4, rtol=1e-4)
        said = theirs.generate(batch, max_new_tokens=24, do_sample=False)[0, len(ids):].tolist()
        with Engine(ours, max_slots=1) as engine:
            answer = engine.generate(ids, Sampling(max_tokens=24, temperature=0.0), [renderer.end])
        assert answer.ids == said


def chatml_tokenizer(folder: Path) -> Tokenizer:
    """Like Qwen's: other special tokens, after the vocabulary."""
    trained = train_tokenizer(["def area(width, height):\n    return width * height\n"], 300)
    held = json.loads(trained.inner.to_str())
    special = len(trained.special)
    held["added_tokens"] = []
    held["model"]["vocab"] = {t: i - special for t, i in held["model"]["vocab"].items() if i >= special}
    inner = HFTokenizer.from_str(json.dumps(held))
    inner.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    inner.add_tokens([AddedToken("<|fim_prefix|>", special=False)])
    (folder / "tokenizer.json").write_text(inner.to_str())
    return trained


@pytest.mark.slow
def test_an_imported_model_speaks_our_renderer(tmp_path: Path) -> None:
    source = tmp_path / "theirs"
    theirs = foreign(source, "qwen2")
    with pytest.raises(BadInput, match=r"has no tokenizer\.json"):
        import_model(str(source), tmp_path / "ours")
    chatml_tokenizer(source)
    _, added = adapt_tokenizer(source)
    assert not {"<|end|>", "<|bos|>", "<|fim_prefix|>"} & {token.token for token in added}
    config = import_model(str(source), tmp_path / "ours", torch.float32)
    assert config.vocab_size == max(token.id for token in added) + 1 > 96
    model, _ = load_checkpoint(tmp_path / "ours")  # with its manifest
    table, old = model.embed_tokens.weight, Weights(source).read("model.embed_tokens.weight")
    assert torch.equal(table[:96], old)
    assert torch.allclose(table[added[0].id], table[added[0].like].mean(0))
    tokenizer = Tokenizer.load(tmp_path / "ours")
    assert tokenizer.decode(tokenizer.encode("<|end|><|fim_prefix|> area")) == "<|end|><|fim_prefix|> area"
    assert not set(tokenizer.special.values()) & set(tokenizer.encode("<|end|><|fim_prefix|><|user|>"))
    renderer = Renderer(tokenizer)
    assert renderer.parse(renderer.answer(TALK[2])).tool_calls[0].name == "read_file"
    with torch.no_grad():
        batch = torch.arange(20)[None]
        torch.testing.assert_close(model(batch)[..., :96], theirs(batch).logits, atol=1e-4, rtol=1e-4)


def test_shards_are_read_back(tmp_path: Path, decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.model.weights.write_weights.__defaults__", (20_000,))
    save_checkpoint(tmp_path / "m", decoder(), dtype=torch.float32)
    assert len(list((tmp_path / "m").glob("model-*.safetensors"))) > 3
    model, _ = load_checkpoint(tmp_path / "m")
    for name, tensor in decoder().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_neither_folder_nor_hub_id(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither a folder nor a hub id"):
        import_model(str(tmp_path / "nowhere"), tmp_path / "m")


def test_mesh() -> None:
    from vivace.train.parallel.mesh import MeshConfig, parse_mesh

    assert parse_mesh("dp=8,ep=4") == MeshConfig(dp=8, ep=4)
    assert parse_mesh("dp=8,ep=4").size == 32
    for wrong in ("tp=2", "dp=0", "dp=x"):
        with pytest.raises(BadInput, match="no part of a mesh"):
            parse_mesh(wrong)
