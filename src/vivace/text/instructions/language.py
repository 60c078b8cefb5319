"""Sentences, tokens and stop words as the published verifiers count them: NLTK's, with its trained data.

The data are looked for where NLTK looks. Where there are none, the two files that are needed are taken from a pinned
wheel on PyPI that carries them, so that a machine without access to NLTK's own server can grade too.
"""

from __future__ import annotations

import functools
import hashlib
import re
import string
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.wheels import Wheel, unpacked

MARKS = string.punctuation + " "
_DATA = Wheel("llama-index-core", "0.14.25", "caa7d9c5ac9b13dc33400cf8d5e92e689b6d1e4497eb9bfa50d6f52ca2eb22a1",
              ("llama_index/core/_static/nltk_cache/tokenizers/punkt_tab/english/",
               "llama_index/core/_static/nltk_cache/corpora/stopwords/english"))
_PARTS = ("tokenizers/punkt_tab", "corpora/stopwords")
_TAGGER = "taggers/averaged_perceptron_tagger_eng"
_lock = threading.Lock()
_NO_MARKS = str.maketrans("", "", string.punctuation)


def sentences(text: str) -> list[str]:
    """By the Punkt model of English."""
    return list(_nltk().sent_tokenize(text))


def tokens(text: str) -> list[str]:
    """Treebank tokens; marks are tokens of their own."""
    return list(_nltk().word_tokenize(text))


def words(text: str) -> list[str]:
    """Runs of word characters."""
    return re.findall(r"\w+", text)


def plain(text: str) -> str:
    """Without ASCII punctuation."""
    return text.translate(_NO_MARKS)


@functools.cache
def stop_words() -> frozenset[str]:
    """NLTK's English list."""
    return frozenset(_nltk().corpus.stopwords.words("english"))


def first_tag(text: str) -> str:
    """Part of speech of the first token (Penn tags). BadInput without the tagger's data, which no wheel carries."""
    if not has_tagger():
        raise BadInput("words:start_verb needs NLTK's tagger: python -m nltk.downloader averaged_perceptron_tagger_eng")
    found = tokens(text)
    return str(_nltk().pos_tag(found)[0][1]) if found else ""


def has_tagger() -> bool:
    """Whether NLTK's tagger has its data, which no wheel carries."""
    return _has(_nltk(), _TAGGER)


def syllables(word: str) -> int:
    """As syllapy counts them."""
    return int(_library("syllapy").count(word))


def is_emoji(character: str) -> bool:
    return bool(_library("emoji").is_emoji(character))


def language(text: str) -> str | None:
    """ISO 639-1 code by langdetect, seeded (upstream it is not); None where there is nothing to tell it by."""
    detector = _library("langdetect")
    with _lock:
        detector.DetectorFactory.seed = 0
        try:
            return str(detector.detect(text))
        except detector.LangDetectException:
            return None


def identity() -> dict[str, str]:
    """The versions that verdicts depend on, and whether the tagger is there."""
    nltk = _nltk()
    model = Path(str(nltk.data.find("tokenizers/punkt_tab/english/abbrev_types.txt"))).read_bytes()
    return {"nltk": str(nltk.__version__), "punkt_tab": hashlib.sha256(model).hexdigest()[:12],
            "tagger": "averaged_perceptron_tagger_eng" if has_tagger() else "none",
            **{name: str(getattr(_library(name), "__version__", "?")) for name in ("emoji", "syllapy")}}


@functools.cache
def _nltk() -> Any:
    nltk = _library("nltk")
    if not all(_has(nltk, part) for part in _PARTS):
        nltk.data.path.append(str(unpacked(_DATA) / "llama_index" / "core" / "_static" / "nltk_cache"))
    return nltk


def _has(nltk: Any, part: str) -> bool:
    try:
        nltk.data.find(part)
    except LookupError:
        return False
    return True


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise BadInput(f"this suite needs {name}: pip install 'vivace[eval]'") from None
