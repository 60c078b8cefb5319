"""Answers that are JSON of a given schema: which token may come next, from llguidance.

Where there are tools too, an answer is either calls or the JSON.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance import TokenizerWrapper as Wrapper

from vivace.core.errors import BadInput, ModelError
from vivace.text.grammar import CallGrammar, Choice
from vivace.text.tokenizer import Tokenizer

# One way to write a value: free white space would let a poor model write nothing else until its tokens are spent.
_LAYOUT = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}


def json_grammar(schema: Mapping[str, Any]) -> str:
    """llguidance's grammar of a JSON schema. BadInput says what of the schema is wrong or not supported."""
    try:
        made = LLMatcher.grammar_from_json_schema(json.dumps({**schema, **_LAYOUT}))
    except ValueError as error:
        raise BadInput(str(error)[:300]) from None
    failed, messages = LLMatcher.validate_grammar_with_warnings(made)
    if failed or messages:
        raise BadInput(" ".join(" ".join(messages).split())[:300])
    return made


class JsonGrammar:
    """One answer's state. `calls`: the grammar of the tools that it may call instead."""

    def __init__(self, tokenizer: Tokenizer, grammar: str, calls: CallGrammar | None = None) -> None:
        self._end, self._call = tokenizer.special["<|end|>"], tokenizer.special["<|call|>"]
        self._size = tokenizer.vocab_size
        self._matcher = LLMatcher(_vocabulary(tokenizer), grammar, log_level=0)
        self._calls, self._begun, self._calling = calls, False, False
        self._check()

    def allowed(self) -> Choice:
        if self._calling and self._calls:
            return self._calls.allowed()
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        ids = np.flatnonzero(np.unpackbits(bits, bitorder="little")[: self._size])
        if self._calls and not self._begun:
            ids = np.append(ids, self._call)
        return Choice(ids)

    def advance(self, token: int) -> None:
        """`token` was drawn; it was allowed."""
        if self._calls and (self._calling or (token == self._call and not self._begun)):
            self._calling = True
            self._calls.advance(token)
            return
        self._begun = True
        if token != self._end:
            self._matcher.consume_token(token)
            self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ModelError(f"the schema cannot be followed: {self._matcher.get_error()[:300]}")


class _Named:
    """What llguidance wants to know of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        names = {number: name for name, number in tokenizer.special.items()}
        self.tokens = [names[n].encode() if n in names else raw for n, raw in enumerate(tokenizer.token_bytes)]
        self.special_token_ids = list(names)
        self.eos_token_id, self.bos_token_id = tokenizer.special["<|end|>"], tokenizer.special["<|bos|>"]
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode(text.decode("utf-8", "replace"))


@functools.lru_cache(maxsize=4)
def _vocabulary(tokenizer: Tokenizer) -> LLTokenizer:
    return LLTokenizer(Wrapper(_Named(tokenizer)))
