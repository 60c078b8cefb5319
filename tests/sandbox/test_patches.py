import random
import shutil
import subprocess
from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.sandbox.patch import apply_patch, make_patch, patched_paths

LINES = [
    "a\n",
    "b\n",
    "\n",
    "x\r\n",
    "form\x0cfeed\n",
    "-minus\n",
    "+plus\n",
    "@@ -1 +1 @@\n",
    "diff --git a/q b/q\n",
    "é\u2028z\n",
]
NAMES = [
    "a.py",
    "dir/b.txt",
    "with space.txt",
    'quo"te',
    "tab\there",
    "back\\slash",
    "ünïcode",
    "a/a",
    "line\nbreak",
]


def random_text(rng: random.Random) -> str:
    text = "".join(rng.choices(LINES, k=rng.randrange(30)))
    return text.removesuffix("\n") if rng.random() < 0.3 else text


def edited(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(lines) + 1)
        lines[at : at + rng.randrange(3)] = [
            line.rstrip("\n") for line in rng.choices(LINES, k=rng.randrange(3))
        ]
    return "\n".join(lines)


def random_change(rng: random.Random) -> tuple[dict[str, str], dict[str, str]]:
    old = {name: random_text(rng) for name in rng.sample(NAMES, rng.randrange(1, 5))}
    new = {}
    for name, text in old.items():
        choice = rng.random()
        if choice > 0.2:
            new[name] = edited(text, rng) if choice > 0.4 else text
    for name in rng.sample(NAMES, 2):
        new.setdefault(name, random_text(rng))
    return old, new


def applied(old: dict[str, str], patch: str) -> dict[str, str]:
    result = {**old, **apply_patch(old, patch)}
    return {name: text for name, text in result.items() if text is not None}


@pytest.mark.parametrize("seed", range(300))
def test_round_trip(seed: int) -> None:
    rng = random.Random(seed)
    old, new = random_change(rng)
    patch = make_patch(old, new, context=rng.choice([0, 1, 3]))
    assert applied(old, patch) == new
    assert set(patched_paths(patch)) == {
        name for name in old.keys() | new.keys() if old.get(name) != new.get(name)
    }
    assert (patch == "") == (old == new)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge here")
def test_git_agrees_in_both_directions(tmp_path: Path) -> None:
    rng = random.Random(5)
    for round_number in range(12):
        old, new = random_change(rng)
        old, new = ({n: t for n, t in side.items() if n != "a/a"} for side in (old, new))
        ours, theirs = tmp_path / f"o{round_number}", tmp_path / f"n{round_number}"
        for folder, files in ((ours, old), (theirs, new)):
            folder.mkdir()
            for name, text in files.items():
                (folder / name).parent.mkdir(exist_ok=True, parents=True)
                (folder / name).write_bytes(text.encode())
        made = subprocess.run(
            ["git", "diff", "--no-index", "--no-prefix", ours.name, theirs.name],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        text = made.stdout.decode().replace(f"{ours.name}/", "a/").replace(f"{theirs.name}/", "b/")
        assert applied(old, text) == new
        patch = make_patch(old, new)
        if patch:
            subprocess.run(
                ["git", "apply", "--whitespace=nowarn", "-"], cwd=ours, input=patch.encode(), check=True
            )
        assert {name: (ours / name).read_bytes().decode() for name in new} == new
        assert not [name for name in old if name not in new and (ours / name).exists()]


def test_a_shifted_hunk_is_found_by_its_context() -> None:
    old = {"f": "".join(f"{n}\n" for n in range(40))}
    patch = make_patch(old, {"f": old["f"].replace("30\n", "thirty\n")})
    shifted = {"f": "new\n" * 5 + old["f"]}
    assert apply_patch(shifted, patch) == {"f": shifted["f"].replace("30\n", "thirty\n")}


def test_renames_and_plain_unified_diffs() -> None:
    rename = "diff --git a/old b/new\nsimilarity index 100%\nrename from old\nrename to new\n"
    assert apply_patch({"old": "x\n"}, rename) == {"old": None, "new": "x\n"}
    plain = "Fix it\n\n--- f.py\t2026-01-01\n+++ f.py\t2026-01-02\n@@ -1,2 +1,2 @@ def f\n a\n-b\n+c\n"
    assert apply_patch({"f.py": "a\nb\n"}, plain) == {"f.py": "a\nc\n"}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("nothing here", "not a patch"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-wrong\n+x\n", "does not fit f"),
        ("--- a/f\n+++ b/f\n@@ -1,3 +1 @@\n-a\n+x\n", "shorter or longer"),
        ("--- a/f\n+++ b/f\n@@ bad @@\n-a\n+x\n", "bad hunk header"),
        ("--- a/gone\n+++ b/gone\n@@ -1 +1 @@\n-a\n+x\n", "missing"),
        ("--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n", "exists"),
        ("--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "not all of its lines"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "both sides"),
        ("diff --git a/f b/f\nindex 1..2 100644\nBinary files a/f and b/f differ\n", "text patch"),
    ],
)
def test_bad_patches(patch: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        apply_patch({"f": "a\nb\n"}, patch)


def test_large_files_are_quick() -> None:
    import time

    lines = [f"line {n % 97}\n" for n in range(40_000)]
    old = {"f": "".join(lines)}
    lines[20_000] = "changed\n"
    start = time.process_time()
    patch = make_patch(old, {"f": "".join(lines)})
    assert apply_patch(old, patch) == {"f": "".join(lines)}
    assert time.process_time() - start < 1.0
