"""Pieces of changes: whatever is taken, what is taken and what is left add up to the whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vivace.harness.hunks import choose, patch_of, pieces
from vivace.harness.sessions.changes import Change
from vivace.sandbox.patch import apply_patch

OLD = "".join(f"line {n}\n" for n in range(40))
NEW = OLD.replace("line 3\n", "three\n").replace("line 20\n", "").replace("line 37\n", "line 37\nmore\n")
FILES = {"a.py": Change(OLD.encode(), NEW.encode()), "b.txt": Change(None, b"new\n"), "c.bin": Change(b"\0", b"\1\0"),
         "d.txt": Change(b"gone\n", None)}  # fmt: skip


def test_hunks_of_texts_and_wholes_of_the_rest() -> None:
    found = pieces(FILES)
    assert [(p.path, p.title) for p in found] == [
        ("a.py", ""), ("a.py", ""), ("a.py", ""), ("b.txt", "new file"), ("c.bin", "not text"), ("d.txt", "deleted")]
    assert apply_patch({"a.py": OLD}, found[1].patch)["a.py"] == OLD.replace("line 20\n", "")
    assert patch_of(FILES).count("diff --git") == 3


def test_some_are_taken() -> None:
    found = pieces(FILES)
    chosen, rest = choose(FILES, [found[0], found[2], found[3]])
    assert chosen["a.py"] == Change(OLD.encode(), NEW.replace("line 19\n", "line 19\nline 20\n").encode())
    assert rest["a.py"] == Change(chosen["a.py"].after, NEW.encode())
    assert chosen["b.txt"] == FILES["b.txt"]
    assert sorted(rest) == ["a.py", "c.bin", "d.txt"]


TEXT = st.lists(st.sampled_from(["a\n", "b\n", "\r\n", "@@ -1 +1 @@\n", "--- a\n", "x"]), max_size=30).map("".join)


@settings(max_examples=200, deadline=None)
@given(TEXT, TEXT, st.data())
def test_taken_and_left_add_up(old: str, new: str, data: st.DataObject) -> None:
    changes = {"f": Change(old.encode(), new.encode())}
    found = pieces(changes)
    taken = [piece for piece in found if data.draw(st.booleans())]
    chosen, rest = choose(changes, taken)
    state = old.encode()
    for part in (chosen, rest):
        for change in part.values():
            assert change.before == state
            state = change.after or b""
    assert state == new.encode()
    assert ("f" in chosen, "f" in rest) == (bool(taken) or not found, len(taken) < len(found))
