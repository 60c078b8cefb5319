"""IFBench: marks, lists and lines."""

from __future__ import annotations

import re
import string
from itertools import pairwise

from vivace.text.instructions.constraint import Arguments, constraint, listed
from vivace.text.instructions.language import MARKS, is_emoji, plain, sentences, tokens

DEPTH, QUOTE_DEPTH = 5, 3
_CLOSES = {")": "(", "]": "[", "}": "{"}
_MINOR = frozenset(listed("a an and as at but by for if in nor of off on or per so the to up via yet"))
_OPTION_LETTERS = re.compile(r"\W*[aA]\W*[bB]\W*[cC]\W*")


@constraint("format:parentheses")
def parentheses(text: str, given: Arguments, mended: bool) -> bool:
    """Whether a nest that is five deep begins to close; a bracket that closes another's begins anew."""
    stack: list[str] = []
    deepest = 0
    for mark in text:
        if mark in "([{":
            stack.append(mark)
            deepest = max(deepest, len(stack))
        elif mark in _CLOSES:
            if stack and stack[-1] == _CLOSES[mark]:
                stack.pop()
                if deepest >= DEPTH:
                    return True
            else:
                stack, deepest = [], 0
    return False


@constraint("format:quotes", mended='the apostrophe of "don\'t" opens a quotation; mended: between letters it does not')
def quotes(text: str, given: Arguments, mended: bool) -> bool:
    if mended:
        text = re.sub(r"(?<=\w)['’](?=\w)", "", text.translate(str.maketrans("“”‘’", "\"\"''")))
    stack: list[str] = []
    deepest = 0
    for mark in text:
        if stack and mark == stack[-1]:
            stack.pop()
            if deepest - len(stack) >= QUOTE_DEPTH:
                return True
        elif mark in "\"'":
            stack.append(mark)
            deepest = max(deepest, len(stack))
    return False


@constraint("format:options", "options")
def options(text: str, given: Arguments, mended: bool) -> bool:
    whole = given["options"]
    separator = "/" if "/" in whole else "or" if "or" in whole else ","
    choices = [part.strip() for part in whole.split(separator)]
    if _OPTION_LETTERS.match(whole):
        return text in choices
    return text.strip(MARKS).lower() in [choice.strip(MARKS).lower() for choice in choices]


@constraint("format:newline")
def newline(text: str, given: Arguments, mended: bool) -> bool:
    bare = plain(text).strip()
    return sum(line != "" for line in bare.split("\n")) == len(bare.split())


@constraint("format:emoji")
def emoji(text: str, given: Arguments, mended: bool) -> bool:
    found = [plain(sentence).strip() for sentence in sentences(text)]
    for here, after in zip(found, [*found[1:], ""], strict=True):
        if not here:
            return False
        # The splitter puts an emoji that follows the full stop at the head of the next sentence.
        if not any(map(is_emoji, here[-2:])) and not (after and is_emoji(after[0])):
            return False
    return True


@constraint("format:line_indent",
            mended="of several blank lines in a row only every other is left out, and the rest break the stairs; "
                   "mended: all are")
def stairs(text: str, given: Arguments, mended: bool) -> bool:
    lines = text.split("\n")
    if mended:
        lines = [line for line in lines if line.strip()]
    else:
        at = 0
        while at < len(lines):  # as if a line were removed from a list that is being walked through
            if not lines[at].strip():
                lines.remove(lines[at])
            at += 1
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(a < b for a, b in pairwise(indents))


@constraint("format:quote_unquote", mended="curly quotation marks are not seen; mended: they are")
def quote_unquote(text: str, given: Arguments, mended: bool) -> bool:
    if mended:
        text = text.translate(str.maketrans("“”", '""'))
    bare = "".join(text.replace("'\"'", "").split())
    others = string.digits + string.punctuation.replace('"', "")
    return '""' not in bare and not bare.strip(others).endswith('"')


@constraint("format:list", "sep", mended="the mark may stand anywhere; mended: at the start of two lines or more")
def marked_list(text: str, given: Arguments, mended: bool) -> bool:
    mark = re.escape(given["sep"])
    return len(re.findall(rf"^\s*{mark}" if mended else mark, text, re.MULTILINE)) >= 2


@constraint("format:thesis", mended="an empty <em></em> passes, with nothing after it too; mended: it does not")
def thesis(text: str, given: Arguments, mended: bool) -> bool:
    start, size = text.find("<i>"), 3
    if start < 0:
        start, size = text.find("<em>"), 4 if mended else 3
    if start < 0:
        return False
    rest = text[start:]
    close, closed = rest.find("</i>"), 4
    if close < 0:
        close, closed = rest.find("</em>"), 5 if mended else 4
    return close >= 0 and bool(rest[size:close].strip()) and bool(rest[close + closed :].strip())


@constraint("format:sub-bullets",
            mended="any star begins a bullet point and any dash is a sub-bullet; none at all passes; mended: they "
                   "stand at the start of lines, and there is one at least")
def sub_bullets(text: str, given: Arguments, mended: bool) -> bool:
    if not mended:
        return all("-" in part for part in text.split("*")[1:])
    parts = re.split(r"^\s*\*\s", text, flags=re.MULTILINE)[1:]
    return bool(parts) and all(re.search(r"^\s*-\s", part, re.MULTILINE) for part in parts)


@constraint("format:no_bullets_bullets",
            mended="a blank line among or after bullet points fails, and sentences need no period; mended: blank lines "
                   "are skipped and sentences end in a period")
def sentences_then_bullets(text: str, given: Arguments, mended: bool) -> bool:
    before, bullets, open_ = 0, 0, True
    for line in (line.strip() for line in text.split("\n")):
        if line.startswith("*"):
            open_ = False
            if before < 2:
                return False
            bullets += 1
        elif mended and not line:
            continue
        elif open_:
            found = sentences(line)
            before += sum(one.endswith(".") for one in found) if mended else len(found)
            open_ = bool(found)
        else:
            return False
    return bullets >= 2


@constraint("format:title_case",
            mended="minor words have to be capital too, and mixed words pass; mended: minor words may be small")
def title_case(text: str, given: Arguments, mended: bool) -> bool:
    for word in tokens(text):
        if not word[:1].isalpha() or (mended and word in _MINOR):
            continue
        small_start, rest = word[0].islower(), word[1:]
        if small_start and (not rest or rest.isupper() or rest.islower() or mended):
            return False
    return True


@constraint("format:output_template")
def template(text: str, given: Arguments, mended: bool) -> bool:
    return all(part in text for part in ("My Answer:", "My Conclusion:", "Future Outlook:"))


@constraint("format:no_whitespace")
def no_whitespace(text: str, given: Arguments, mended: bool) -> bool:
    return not any(character.isspace() for character in text)
