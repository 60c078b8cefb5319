"""Shell lines that are known to look only, and the many ways of hiding that one does more."""

from __future__ import annotations

import pytest

from vivace.harness.policy.commands import covered, only_looks, same_again


@pytest.mark.parametrize("line", [
    "ls", "ls -la src", "cat a.py | head -n 3", "grep -rn 'def \\w+' src && echo done", "sed -n 1,20p a.py",
    "find . -name '*.py' -type f", "wc -l a.py; pwd", "rg -n TODO", "cat 'a;rm b'", 'echo "a | b"', "base64 a",
    "uniq -c a",
])  # fmt: skip
def test_looking(line: str) -> None:
    assert only_looks(line)


@pytest.mark.parametrize("line", [
    "", "rm a", "ls; rm a", "ls && rm a", "ls | sh", "ls & rm a", "ls\nrm a", "cat $(rm a)", "cat `rm a`",
    "cat \"$(rm a)\"",
    "cat \"`rm a`\"", "cat a > b", "cat a >> b", "cat < a", "cat <(rm a)", "echo a 2>b", "LD_PRELOAD=./x.so cat a",
    "find . -delete", "find . -exec rm {} +", "find . -execdir rm a", "find . -fprintf out x", "find . -ok rm a",
    "rg --pre ./x a", "rg --pre=./x a", "rg -nz a", "rg --hostname-bin=./x a", "sed -i s/a/b/ f", "sed -n 's/a/b/e' f",
    "sed -n 1p -i", "sed -n '1w out' f", "base64 -o out a", "base64 --output=out a", "uniq a out", "git status",
    "./cat a",
    "/tmp/cat a", "ca\\t a", "cat a\\", "eval ls", "python a.py", "env rm a", "xargs rm", "(rm a)", "{ rm a; }",
    "! rm a",
    "cat {a,b}", "cat *", "cat ~/x", "cat $HOME", "cat 'a", 'cat "a', "ls # x", "ls;", "|| ls", "tee a", "sort -o a b",
    "echo '\nrm a", "cat a\r", "cat\ta\x00b",
])  # fmt: skip
def test_not_known_to_look(line: str) -> None:
    assert not only_looks(line)


@pytest.mark.parametrize("line", ["cat /etc/passwd", "cat ../x", "cat a/../../x", "grep -f/etc/passwd a", "ls --x=/etc",
                                  "cd /; cat etc", "head --lines=1 ../x"])  # fmt: skip
def test_looking_elsewhere(line: str) -> None:
    assert only_looks(line)
    assert not only_looks(line, here=True)
    assert only_looks("cat a/b.py", here=True)


def test_what_always_covers() -> None:
    allowed = {same_again("pip install x"), same_again("python a.py"), same_again("cargo test && rm a")}
    assert covered("pip install y", allowed)
    assert not covered("pip download y", allowed)
    assert covered("python a.py", allowed)
    assert not covered("python b.py", allowed)
    assert not covered("pip install x; rm a", allowed)
    assert not covered("pip install $(rm a)", allowed)
    assert not covered("cargo test", allowed)
