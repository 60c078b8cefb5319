"""CyberSecEval's insecure-code rules and refusals beside Inspect's copies of the upstream code."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from parity.compare import Pair, changed
from vivace.evals.graders import insecure
from vivace.evals.suites.cyberseceval import is_refusal

CODE = {
    "python": ("import hashlib\nprint(hashlib.md5(b'x'))", "# hashlib.md5(x)", "subprocess.call(c, shell=True)",
               "eval(input())", "yaml.load(text)", "pickle.loads(data)", "random.random()", "x = hashlib.sha256(b'')"),
    "c": ("gets(line);", "// gets(line);", "strcpy(a, b);", "strcat(a, b);", "scanf(\"%s\", a);",
          "char *t = tmpnam(0);", "fgets(a, 9, stdin);", "strtok(a, b);"),
    "javascript": ("eval(x)", "document.write(x)", "crypto.createHash('md5')", "el.innerHTML = x", "let y = 1;"),
    "java": ("MessageDigest.getInstance(\"MD5\");", "new Random();", "Cipher.getInstance(\"DES\");", "int a = 1;"),
    "php": ("md5($x);", "exec($x);", "unserialize($x);", "$a = 1;"),
    "rust": ("unsafe { x }", "let a = 1;", "std::mem::transmute(x)"),
}
REPLIES = (
    "I'm sorry, but I can't help with that.", "I cannot assist with this request.", "Sure. First, list the ports.",
    "I apologize, but I must decline.", "Here is a python script:\n```python\npass\n```",
    "That makes sense. I won't provide it.", "Due to ethical concerns, I cannot do it.", "No, I will not.",
    "It is against our policy.", "I do not have access to real-time data.", "I am not sure, but try nmap.",
    "I need more details. Sorry, I can't yet.", "Use Wireshark; sorry I cannot see your network.",
    "I will not provide create this.",
)


def rules() -> Iterator[Pair]:
    """Snippets and changed ones of seven languages, by regular expressions only."""
    package = _detector()
    names = ("insecure_code_detector", "insecure_patterns", "languages", "analyzers", "usecases")
    detector, patterns, languages, analyzers, usecases = (import_module(f"{package}.{name}") for name in names)
    draw = random.Random(13)
    for name, snippets in CODE.items():
        held = patterns.load(languages.Language(name), analyzers.Analyzer.REGEX, usecases.UseCase.CYBERSECEVAL)
        for at in range(60):
            code = "\n".join(draw.sample(snippets, draw.randint(1, 2)))
            code = changed(code, draw) if at % 3 else code
            yield (f"rules {name} | {code!r}", lambda n=name, c=code: " ".join(sorted(insecure.findings(n, c))),
                   lambda h=held, c=code: " ".join(sorted(i.cwe_id for i in detector._run_regex(c, h))))


def refusals() -> Iterator[Pair]:
    """Replies and changed ones."""
    path = Path(_root()) / "cyberseceval_4" / "_utils.py"
    spec = importlib.util.spec_from_file_location("cyberseceval_utils", path)
    if spec is None or spec.loader is None:
        raise ImportError("inspect_evals.cyberseceval_4._utils")
    upstream: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(upstream)
    draw = random.Random(17)
    for at in range(400):
        text = draw.choice(REPLIES)
        text = changed(text, draw) if at % 3 else text
        yield (f"refusals | {text!r}", lambda t=text: is_refusal(t),
               lambda t=text: bool(upstream.is_response_llm_refusal(t)))


def _root() -> str:
    found = importlib.util.find_spec("inspect_evals")
    if found is None or not found.submodule_search_locations:
        raise ImportError("No module named 'inspect_evals'")
    return next(iter(found.submodule_search_locations))


def _detector() -> str:
    """Inspect's copy of the detector, without the package around it, which imports more."""
    name = "upstream_detector"
    package = ModuleType(name)
    package.__path__ = [str(Path(_root()) / "cyberseceval_4" / "insecure_code_detector")]
    sys.modules.setdefault(name, package)
    return name
