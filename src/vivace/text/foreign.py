"""What other engines need to speak to our models, and what our renderer needs to speak to theirs.

Outwards: tokenizer_config.json and a Jinja chat template that renders what `Renderer` renders. Inwards: another model's
tokenizer.json gets our special tokens. A token that already means the same is renamed and keeps its id and embedding;
the others take new ids after the last one (large models have unused rows there), and `Added.like` says with which
tokens' mean embedding a new row starts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer as HFTokenizer

from vivace.core.errors import BadInput
from vivace.core.files import read_json
from vivace.text.tokenizer import FILE_NAME, SPECIAL_TOKENS, Tokenizer

TEMPLATE = Path(__file__).with_name("chat_template.j2")
SAME = {
    "<|end|>": ("<|im_end|>", "[|endofturn|]", "<|endofturn|>"),
    "<|bos|>": ("<|endoftext|>", "[BOS]", "<s>"),
    "<|pad|>": ("[PAD]",),
    **{f"<|{role}|>": (f"[|{role}|]",) for role in ("system", "user", "assistant", "tool")},
}
LIKE = {
    "<|pad|>": " ", "<|bos|>": "\n", "<|end|>": "\n", "<|call|>": "<tool_call>", "<|arg|>": " argument",
    "<|value|>": " value", "<|effort_low|>": " low", "<|effort_medium|>": " medium", "<|effort_high|>": " high",
    "<|fim_prefix|>": " prefix", "<|fim_suffix|>": " suffix", "<|fim_middle|>": " middle",
}  # fmt: skip


class Added(NamedTuple):
    """A special token with a new id, and the ids whose mean embedding it starts from."""

    token: str
    id: int
    like: list[int]


def adapt_tokenizer(folder: Path) -> tuple[str, list[Added]]:
    """(tokenizer.json with our special tokens, the tokens that are new). BadInput when there is no usable one."""
    path = folder / FILE_NAME
    if not path.exists():
        raise BadInput(f"{folder} has no {FILE_NAME}; download it with the weights (a vocab.json alone is not enough)")
    held = read_json(path, "download it again")
    try:
        old = HFTokenizer.from_str(json.dumps(held))
        added: list[dict[str, Any]] = held["added_tokens"]
        vocabulary: dict[str, int] = held["model"]["vocab"]
        next_id = 1 + max([*vocabulary.values(), *(token["id"] for token in added)])
    except Exception as error:  # the Rust side raises bare Exception: this is its boundary
        raise BadInput(f"{path} is not a BPE tokenizer ({str(error)[:80]}); download it again") from error
    new: list[Added] = []
    for name in SPECIAL_TOKENS:
        wanted = (name, *SAME.get(name, ()))
        known = next((token for want in wanted for token in added if token["content"] == want), None)
        if known is None:
            text = LIKE.get(name, "<|im_start|>" + name.strip("<|>"))
            new.append(Added(name, next_id, old.encode(text, add_special_tokens=False).ids))
            known = {"id": next_id, "content": name}
            added.append(known)
            next_id += 1
        elif known["content"] in vocabulary and known["content"] != name:
            vocabulary[name] = vocabulary.pop(known["content"])
        known |= {"content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                  "special": True}  # fmt: skip
    held["post_processor"] = None  # it may name tokens that were renamed; the renderer places special tokens itself
    text = json.dumps(held, ensure_ascii=False)
    tokenizer = Tokenizer(HFTokenizer.from_str(text))
    for token in added:
        if tokenizer.inner.token_to_id(token["content"]) != token["id"]:
            raise BadInput(f"{path}: {token['content']} does not keep its id {token['id']}; its ids are not contiguous")
    return text, new


def companion_files(tokenizer: Tokenizer, max_length: int) -> dict[str, str]:
    """What stands beside tokenizer.json for other engines: name -> text."""
    template, special = TEMPLATE.read_text().rstrip("\n"), tokenizer.special
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>", "eos_token": "<|end|>",
        "pad_token": "<|pad|>", "clean_up_tokenization_spaces": False, "model_max_length": max_length,
        "chat_template": template,
    }  # fmt: skip
    generation = {"bos_token_id": special["<|bos|>"], "eos_token_id": special["<|end|>"],
                  "pad_token_id": special["<|pad|>"]}  # fmt: skip
    return {"tokenizer_config.json": json.dumps(settings, indent=1) + "\n", "chat_template.jinja": template,
            "generation_config.json": json.dumps(generation, indent=1) + "\n"}  # fmt: skip
