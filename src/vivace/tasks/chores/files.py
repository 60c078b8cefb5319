"""Chores with files: names, settings, sums, parts."""

from __future__ import annotations

import hashlib
import random

from vivace.tasks.chores.base import CITIES, GOODS, SURNAMES, Chore, python, same


def names(rng: random.Random) -> Chore:
    """File names put in order, with numbers for those that would be the same."""
    files: dict[str, str] = {}
    for good in rng.sample(GOODS, 4):
        for form in rng.sample((good.title(), good.upper(), f" {good}", f"{good} list", f"{good}_LIST"), 2):
            files[f"notes/{form}.TXT"] = f"{good}: {rng.randint(1, 99)} in {rng.choice(CITIES)}\n"
    after: dict[str, str | None] = dict.fromkeys(files)
    taken: set[str] = set()
    for path in sorted(files):
        stem = path.removeprefix("notes/").removesuffix(".TXT").strip().lower().replace(" ", "-").replace("_", "-")
        name, number = f"notes/{stem}.txt", 2
        while name in taken:
            name, number = f"notes/{stem}-{number}.txt", number + 1
        taken.add(name)
        after[name] = files[path]
    wishes = [{"path": path, "absent": True} if text is None else {"path": path, "text": text}
              for path, text in after.items()]  # fmt: skip
    rule = ("small letters, no blanks at the ends, `-` for a blank or `_`, ending .txt. Go through them in ASCII order "
            "of the old names; where a name is taken, add -2, -3 and so on before .txt.")
    return Chore(
        (f"Rename the files in desk/notes: {rule} Contents stay.",
         f"The names in desk/notes are a mess. Make them uniform: {rule} Do not touch what is in them."),
        files, after, wishes,
        ["ls -Q desk/notes", python(
            "import os", "os.chdir('notes')", "taken = set()", "moves = []", "for old in sorted(os.listdir('.')):",
            "    stem = old[:-4].strip().lower().replace(' ', '-').replace('_', '-')", "    new, n = stem + '.txt', 2",
            "    while new in taken:", "        new, n = f'{stem}-{n}.txt', n + 1", "    taken.add(new)",
            "    moves.append((old, new))", "for old, new in moves:", "    os.rename(old, '.' + new)",
            "for _, new in moves:", "    os.rename('.' + new, new)")],
        [dict.fromkeys(files), {path: text for path, text in after.items() if text is not None}],
    )  # fmt: skip


def settings(rng: random.Random) -> Chore:
    """One setting changed in those of several files that are of one kind."""
    hosts = [f"{name}.ini" for name in rng.sample(SURNAMES, 6)]
    old, new = rng.randint(10, 30), rng.randint(40, 90)
    files, after = {}, {}
    for position, host in enumerate(hosts):
        role = ("web", "db")[position % 2]
        text = (f"; host {host[:-4]}\n[general]\nrole = {role}\ntimeout = {rng.randint(1, 9)}\n\n[pool]\nsize = "
                f"{rng.randint(2, 9)}\ntimeout = {old}\n")
        files[f"conf/{host}"] = text
        if role == "db":
            after[f"conf/{host}"] = text.replace(f"timeout = {old}\n", f"timeout = {new}\n")
    wishes = [{"path": path, "text": after[path]} if path in after else same(path, text)
              for path, text in files.items()]  # fmt: skip
    return Chore(
        (f"In desk/conf, set timeout in section [pool] to {new} in every file whose role is db. Leave everything else "
         f"as it is, comments too.",
         f"The databases need a longer pool timeout: {new} (section [pool]). Their files in desk/conf have role = db. "
         f"Nothing else may change, in no file."),
        files, after, wishes,
        ["grep -l 'role = db' desk/conf/*", "for f in $(grep -l '^role = db' desk/conf/*); do sed -i "
         f"'/^\\[pool\\]/,$ s/^timeout = .*/timeout = {new}/' $f; done; tail -n 2 desk/conf/*"],
        [{path: text.replace("timeout = ", f"timeout = {new} ;") for path, text in files.items()},
         {path: text.replace(f"timeout = {old}\n", f"timeout = {new}\n") for path, text in files.items()}],
    )  # fmt: skip


def sums(rng: random.Random) -> Chore:
    """Which files no longer have the sum that a list says."""
    files = {f"parts/{name}.dat": f"{name} {rng.getrandbits(64):x}\n" for name in rng.sample(SURNAMES, 8)}
    known = {path: hashlib.sha256(text.encode()).hexdigest()[:16] for path, text in files.items()}
    bad = rng.sample(sorted(files), 2)
    files |= {path: files[path].rstrip("\n") + "0\n" for path in bad}
    gone = rng.choice(sorted(set(files) - set(bad)))
    listed = "".join(f"{known[path]}  {path}\n" for path in sorted(known))
    del files[gone]
    files["SUMS"] = listed
    want = sorted([*(f"changed {path}" for path in bad), f"missing {gone}"])
    rule = ("SUMS has the first 16 hex digits of the SHA-256 of each file. Write one line `changed PATH` or `missing "
            "PATH` for each file that does not agree, with paths as in SUMS")
    return Chore(
        (f"Compare desk/parts with desk/SUMS and write desk/report.txt. {rule}.",
         f"Some files in desk/parts are damaged. {rule}, into desk/report.txt."),
        files, {"report.txt": "\n".join(want) + "\n"},
        [{"path": "report.txt", "lines": want}, *(same(path, text) for path, text in files.items())],
        ["head -2 desk/SUMS", "cd desk && while read sum path; do if [ ! -e $path ]; then echo missing $path; elif [ "
         "$(sha256sum $path | cut -c1-16) != $sum ]; then echo changed $path; fi; done < SUMS > report.txt; cat "
         "report.txt"],
        [{"report.txt": "".join(f"changed {path}\n" for path in sorted(known))}, {"report.txt": want[0] + "\n"},
         {"report.txt": "\n".join(want) + "\n", bad[0]: "repaired\n"}],
    )  # fmt: skip


def parts(rng: random.Random) -> Chore:
    """One file taken apart at its headings."""
    titles = rng.sample(CITIES, 4)
    bodies = {title: "".join(f"{rng.choice(GOODS)} {rng.randint(1, 99)}\n" for _ in range(rng.randint(1, 4)))
              for title in titles}  # fmt: skip
    text = "preface, not wanted\n" + "".join(f"== {title} ==\n{body}\n" for title, body in bodies.items())
    after: dict[str, str | None] = {f"cities/{title.lower()}.txt": body for title, body in bodies.items()}
    after["cities/INDEX"] = "".join(f"{title.lower()}.txt {body.count(chr(10))}\n" for title, body in bodies.items())
    rule = ("Each part `== Name ==` becomes desk/cities/name.txt (small letters) with its lines, without the heading "
            "and without blank lines; desk/cities/INDEX lists `file lines` for each, in the order of the parts")
    return Chore(
        (f"Split desk/all.txt. {rule}. What stands before the first heading is dropped.",
         f"Take desk/all.txt apart at its headings: {rule}; the preface goes nowhere."),
        {"all.txt": text}, after,
        [*({"path": path, "text": body} for path, body in after.items()), same("all.txt", text)],
        ["cat desk/all.txt", python(
            "import os, re", "os.makedirs('cities', exist_ok=True)", "parts, now = {}, None",
            "for line in open('all.txt'):", r"    m = re.fullmatch(r'== (\w+) ==', line.strip())", "    if m:",
            "        now = parts.setdefault(m[1].lower() + '.txt', [])", "    elif now is not None and line.strip():",
            "        now.append(line)", "for name, lines in parts.items():",
            "    open('cities/' + name, 'w').writelines(lines)",
            "open('cities/INDEX', 'w').writelines(f'{n} {len(x)}\\n' for n, x in parts.items())")],
        [{path: body for path, body in after.items() if not path.endswith("INDEX")},
         {path: (body or "") + "preface, not wanted\n" for path, body in after.items()}],
    )  # fmt: skip
