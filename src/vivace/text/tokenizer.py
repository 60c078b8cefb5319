"""Byte-level BPE. Special tokens are ids of their own that no text encodes to, so file contents cannot forge them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HFTokenizer

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_text

SPECIAL_TOKENS = (
    "<|pad|>", "<|bos|>", "<|end|>",
    "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>",
    "<|call|>", "<|arg|>", "<|value|>",
    "<|effort_low|>", "<|effort_medium|>", "<|effort_high|>",
    "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
)  # fmt: skip

# Identifiers with their leading blank, numbers of at most two digits, punctuation runs, newlines with their indent.
SPLIT = r" ?[A-Za-z_]+| ?[0-9]{1,2}| ?[^\sA-Za-z_0-9]+|\n[ \t]*|\s+"
FILE_NAME = "tokenizer.json"


class Tokenizer:
    """A thin face over a `tokenizers` BPE whose special tokens are never produced by `encode`."""

    def __init__(self, inner: HFTokenizer) -> None:
        self.inner = inner
        self.special: dict[str, int] = {}
        for token in SPECIAL_TOKENS:
            number = inner.token_to_id(token)
            if number is None:
                raise BadInput(f"the tokenizer lacks {token}: it was not made by Vivace, pick another base")
            self.special[token] = number
        self._special_ids = frozenset(self.special.values())
        inner.encode_special_tokens = True  # text that spells a special token is encoded as plain text

    @property
    def vocab_size(self) -> int:
        return int(self.inner.get_vocab_size())

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """What each id adds to a text; nothing for special ones. `decode` is their concatenation, as UTF-8."""
        table = _byte_of_character()
        names = [self.inner.id_to_token(number) or "" for number in range(self.vocab_size)]
        return [b"" if number in self._special_ids else bytes(table[c] for c in name if c in table)
                for number, name in enumerate(names)]  # fmt: skip

    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens never come out, whatever the text says."""
        return list(self.inner.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(item.ids) for item in self.inner.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; special ones are left out. Invalid UTF-8 becomes U+FFFD."""
        return str(self.inner.decode([i for i in ids if i not in self._special_ids], skip_special_tokens=False))

    def show(self, ids: Iterable[int]) -> str:
        """For people: like `decode`, with special tokens written out."""
        names = {number: token for token, number in self.special.items()}
        parts: list[str] = []
        run: list[int] = []
        for number in ids:
            if number in names:
                parts += [self.decode(run), names[number]]
                run = []
            else:
                run.append(number)
        return "".join([*parts, self.decode(run)])

    def save(self, directory: Path) -> Path:
        path = directory / FILE_NAME
        atomic_write_text(path, self.inner.to_str())
        return path

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """From a tokenizer.json or a folder that holds one."""
        file = path / FILE_NAME if path.is_dir() else path
        if not file.exists():
            raise BadInput(f"no tokenizer at {file}; a checkpoint has model.safetensors, config.json and {FILE_NAME}")
        try:
            inner = HFTokenizer.from_str(file.read_text())
        except Exception as error:  # the Rust side raises bare Exception: this is its boundary
            raise BadInput(f"{file} is not a tokenizer ({str(error)[:80]}); restore the checkpoint") from error
        return cls(inner)


def _byte_of_character() -> dict[str, int]:
    """Byte-level BPE writes every byte as one printable character: its own if it has one, else one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE over `texts`; special tokens take the first ids."""
    inner = HFTokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    inner.train_from_iterator(texts, trainer)
    return Tokenizer(inner)
