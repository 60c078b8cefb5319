import json
from pathlib import Path
from typing import Any

import pytest

from vivace.core.errors import BadInput
from vivace.evals.suites.robust_if import VARIANTS, load, variants
from vivace.evals.suites.robust_rows import compose
from vivace.text.instructions import CONSTRAINTS, follows, judge, mended_notes
from vivace.text.instructions.language import has_tagger

CASES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "instruction_cases.json").read_text())
SAMPLES = Path(__file__).parents[2] / "src" / "vivace" / "evals" / "suites" / "samples"
# Constraint, text, arguments, verdict of the published verifier, verdict of the mended one.
FAULTS: list[tuple[str, str, dict[str, Any], bool, bool]] = [
    ("repeat:repeat_span", "a tree for", {"prompt_to_repeat": "Name a tree for me", "n_start": 1, "n_end": 3}, False,
     True),
    ("ratio:overlap", "tac eht", {"reference_text": "the cat sat", "percentage": 0}, True, False),
    ("words:words_position", "“The whisper, it came: a whisper!” now", {"keyword": "whisper"}, False, True),
    ("words:words_position", '"The whisper came" and "a whisper went"', {"keyword": "whisper"}, False, True),
    ("ratio:sentence_type", "Nothing to see", {}, True, False),
    ("ratio:sentence_balance", "Nothing to see", {}, True, False),
    ("ratio:sentence_words", "The cat sat. The cat ran. The cat hid.", {}, True, False),
    ("format:line_indent", "a\n\n\n b\n  c", {}, False, True),
    ("format:quotes", "\"Don't \"go\" it's\"", {}, True, False),
    ("format:sub-bullets", "no bullets at all", {}, True, False),
    ("format:no_bullets_bullets", "One thing. Two things.\n\n* a\n\n* b\n", {}, False, True),
    ("format:list", "well ... so ... it is", {"sep": "..."}, True, False),
    ("format:thesis", "<em></em>", {}, True, False),
    ("format:title_case", "The Lord of the Rings", {}, False, True),
    ("count:conjunctions", "and And and,", {"small_n": 3}, True, False),
    ("count:unique_word_count", "one - two", {"N": 3}, True, False),
    ("count:numbers", "from 10-20", {"N": 2}, False, True),
    ("count:keywords_multiple", "sun fog foggy ice ice ice" + " dew" * 5 + " mist" * 7,
     {"keyword1": "sun", "keyword2": "fog", "keyword3": "ice", "keyword4": "dew", "keyword5": "mist"}, True, False),
    ("words:consonants", "strong - winds", {}, False, True),
    ("words:last_first", 'We saw the "sea". Sea air.', {}, False, True),
    ("custom:date_format_list", "1800-02-30", {}, False, False),
    ("custom:date_format_list", "1800-00-99", {}, True, False),
    ("repeat:repeat_change", "Name  a tree", {"prompt_to_repeat": "Name a tree"}, True, False),
    ("keywords:existence", "axb", {"keywords": ["a.b"]}, True, False),
    ("sentence:alliteration_increment", "The end. Big bears.", {}, True, False),
    ("format:quote_unquote", "He said “yes”", {}, True, False),
]


def test_there_are_the_58_and_the_25() -> None:
    assert len(CONSTRAINTS) == 83
    assert set(CASES) == set(CONSTRAINTS)


@pytest.mark.parametrize("name", sorted(CASES))
def test_gold_follows_and_wrong_does_not(name: str) -> None:
    if name == "words:start_verb" and not has_tagger():
        with pytest.raises(BadInput, match="averaged_perceptron_tagger_eng"):
            follows(name, "Take it.", {})
        return
    case = CASES[name]
    for mended in (False, True):
        assert follows(name, case["good"], case["arguments"], mended=mended)
        assert not follows(name, case["bad"], case["arguments"], mended=mended)


@pytest.mark.parametrize(("name", "text", "given", "published", "mended"), FAULTS)
def test_faults_of_the_published_verifiers_are_kept_and_mended(
    name: str, text: str, given: dict[str, Any], published: bool, mended: bool,
) -> None:
    assert follows(name, text, given) is published
    assert follows(name, text, given, mended=True) is mended


def test_what_is_mended_says_so() -> None:
    assert {name for name, *_, published, mended in FAULTS if published != mended} <= set(mended_notes())


def test_loose_forgives_a_first_line_and_stars_only() -> None:
    found = judge(["format:options"], [{"options": "yes/no"}], "Here it is:\n**yes**")
    assert (found.strict, found.loose) == ((False,), (True,))
    assert judge(["format:options"], [{"options": "yes/no"}], "I say\nyes\nno\nso").loose == (False,)
    assert judge(["ratio:sentence_type"], [{}], "  \n ").loose == (False,)


def test_data_of_another_benchmark_are_refused() -> None:
    with pytest.raises(BadInput, match="no verifier for the instruction 'x:y'"):
        follows("x:y", "a", {})
    with pytest.raises(BadInput, match="has no argument 'N'"):
        follows("count:numbers", "a", {"N": None})


def test_the_shipped_robust_rows_are_what_the_generator_makes() -> None:
    shipped = [json.loads(line) for line in (SAMPLES / "robust-if" / "data.jsonl").read_text().splitlines()]
    assert shipped == compose()
    assert len({row["id"] for row in shipped}) == 120


def test_every_variant_carries_the_request_and_all_constraints() -> None:
    case = load(SAMPLES / "robust-if" / "data.jsonl")[0]
    found = variants(case)
    assert list(found) == list(VARIANTS)
    assert len({str(messages) for messages in found.values()}) == len(VARIANTS)
    for name, messages in found.items():
        text = " ".join(message.content for message in messages)
        assert case.messages[0].content in text, name
        assert ("lower case only" in text) or ("without a single capital" in text), name
    assert [m.role for m in found["conflict"]] == ["system", "user"]
    assert found["order"][0].content.index("lower case") < found["order"][0].content.index("code review")
