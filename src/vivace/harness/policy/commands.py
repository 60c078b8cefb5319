"""Commands that only look, told from their text alone; anything that is not plainly one of them is not.

Only plain words joined by `&&`, `||`, `;` and `|` are understood: no variables, substitutions, redirections, globs,
escapes or background. git is not among them, because its configuration can run programs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence

_WORD = r"(?:'[^'\n]*'|\"[^\"$`\\!\n]*\"|[A-Za-z0-9_./:=,@%+^-])+"
_COMMAND = re.compile(rf"[ \t]*{_WORD}(?:[ \t]+{_WORD})*[ \t]*")
_JOINED = re.compile(r"&&|\|\||;|\|")
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_SED = re.compile(r"\d+(?:,\d+)?p")
Words = Sequence[str]


def _anything(words: Words) -> bool:
    return True


def _without(*options: str) -> Callable[[Words], bool]:
    def check(words: Words) -> bool:
        return not any(word == option or word.startswith(f"{option}=") for word in words for option in options)

    return check


def _find(words: Words) -> bool:
    return not any(word.startswith(("-exec", "-ok", "-delete", "-fls", "-fprint", "-files0-from")) for word in words)


def _rg(words: Words) -> bool:
    return _without("--pre", "--hostname-bin", "--search-zip")(words) and not any(
        re.fullmatch(r"-[A-Za-z]*z[A-Za-z]*", word) for word in words)


def _sed(words: Words) -> bool:
    return len(words) in (2, 3) and words[0] == "-n" and _SED.fullmatch(words[1]) is not None and not (
        len(words) == 3 and words[2].startswith("-"))


def _base64(words: Words) -> bool:
    return not any(word.startswith(("-o", "--output")) for word in words)


def _uniq(words: Words) -> bool:
    return len([word for word in words if not word.startswith("-")]) <= 1  # a second one is written to


_LOOKING = dict.fromkeys((
    "cat", "cd", "cut", "echo", "expr", "false", "grep", "head", "id", "ls", "nl", "paste", "pwd", "rev", "seq", "stat",
    "tail", "tr", "true", "uname", "wc", "which", "whoami", "numfmt", "tac",
), _anything)  # fmt: skip
_SAFE: dict[str, Callable[[Words], bool]] = {
    **_LOOKING,
    "find": _find, "rg": _rg, "sed": _sed, "base64": _base64, "uniq": _uniq,
}  # fmt: skip


def parse(line: str) -> list[list[str]] | None:
    """The simple commands of a line of plain words, or None for any other line."""
    masked = _QUOTED.sub(lambda match: "'" + "_" * (len(match[0]) - 2) + "'", line)
    found: list[list[str]] = []
    start = 0
    for joint in [*_JOINED.finditer(masked), None]:
        end = joint.start() if joint else len(line)
        part = line[start:end]
        if not _COMMAND.fullmatch(part):
            return None
        found.append(shlex.split(part))
        start = joint.end() if joint else end
    return found


def only_looks(line: str, *, here: bool = False) -> bool:
    """Whether a shell line is known to change nothing.

    Args:
        here: and to look at nothing outside its folder (no absolute paths, no `..`).
    """
    found = parse(line)
    if found is None:
        return False
    for program, *words in found:
        if program not in _SAFE or not _SAFE[program](words):
            return False
        if here and any(_leaves(word) for word in words):
            return False
    return True


def _leaves(word: str) -> bool:
    value = word.split("=", 1)[-1]
    return any(text.startswith(("/", "~")) or ".." in text.split("/") for text in (word, value)) or \
        re.match(r"-[A-Za-z]/", word) is not None


_RUN_ANYTHING = frozenset((
    "sh", "bash", "dash", "zsh", "fish", "python", "python3", "perl", "ruby", "node", "env", "sudo", "su", "xargs",
    "time", "nohup", "exec", "eval", "command", "nice", "timeout", "ssh", "docker", "podman", "git", "make",
))  # fmt: skip


def same_again(line: str) -> str:
    """What "always" means for a line: its program and first word, or for anything less plain the very line."""
    found = parse(line)
    if found is None or len(found) != 1 or found[0][0] in _RUN_ANYTHING or "/" in found[0][0]:
        return line
    return " ".join(found[0][:2])


def covered(line: str, allowed: Iterable[str]) -> bool:
    """Whether the user has allowed this line by an earlier `same_again`."""
    return same_again(line) in set(allowed)
