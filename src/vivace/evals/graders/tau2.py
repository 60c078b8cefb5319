"""tau2-bench's telecom world: database, phone, tools and policy of the `inspect_evals` package, without Inspect.

The package's classes are adapted from sierra-research/tau2-bench (MIT) and ask of Inspect only a base class, an error
and a decorator. They are loaded under a name of their own with those three put in their place, so nothing else is
needed and an installed `inspect_evals` is not touched.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from vivace.core.types import ToolCall
from vivace.core.wheels import Wheel, unpacked
from vivace.evals.graders import tau2given

PACKAGE = Wheel(
    "inspect_evals", "0.26.0", "b76d15813182807da141a0f06bb6f18a5f82d1f06291ec2633bb84cdf661f8d0",
    tuple(f"inspect_evals/tau2/{part}" for part in (
        "telecom/", "common/", "environment/", "data_model/", "data/domains/telecom/", "data/user_simulator/")))
_NAME, _GIVEN = "vivace_tau2", "vivace.evals.graders.tau2given"
_lock = threading.RLock()


def folder() -> Path:
    """Where the package's parts are. InfraError: it cannot be fetched."""
    return unpacked(PACKAGE) / "inspect_evals" / "tau2"


class Tool:
    """One of the agent's or of the user's tools: what a model is told of it, and how it is called."""

    def __init__(self, name: str, execute: Callable[..., Any]) -> None:
        self.name, self._execute = name, execute
        words = inspect.getdoc(execute) or name
        told = words.partition("Args:")[2].split("Returns:")[0]
        about = dict(re.findall(r"^\s*(\w+)(?: \([^)]*\))?: (.+)$", told, re.MULTILINE))
        fields: dict[str, Any] = {
            one.name: (one.annotation, ... if one.default is inspect.Parameter.empty else one.default)
            for one in inspect.signature(execute, eval_str=True).parameters.values()}
        self._arguments: type[BaseModel] = create_model(f"{name}_arguments", **fields)
        parameters = self._arguments.model_json_schema()
        for key, schema in parameters.get("properties", {}).items():
            schema.pop("title", None)
            schema["description"] = about.get(key, key)
        parameters = {**parameters, "additionalProperties": False}
        parameters.pop("title", None)
        self.schema: dict[str, Any] = {"type": "function", "function": {
            "name": name, "description": words.partition("\n\nArgs:")[0].strip(), "parameters": parameters}}

    @property
    def signature(self) -> str:
        """name(argument, argument?) as native models read it."""
        held = self.schema["function"]["parameters"]
        required = held.get("required", [])
        return f"{self.name}({', '.join(key if key in required else f'{key}?' for key in held.get('properties', {}))})"

    def __call__(self, arguments: Mapping[str, Any]) -> str:
        """The tool's answer. ValidationError: the arguments do not fit; ToolError and ValueError: it refuses."""
        unknown = sorted(set(arguments) - set(self._arguments.model_fields))
        if unknown:
            raise tau2given.ToolError(f"no argument {', '.join(unknown)}")
        given = self._arguments.model_validate(dict(arguments))
        call = self._execute(**{key: getattr(given, key) for key in self._arguments.model_fields})
        try:
            call.send(None)  # these coroutines wait for nothing
        except StopIteration as end:
            return str(end.value)
        raise RuntimeError(f"{self.name} waits for something")


class World:
    """One task's database and phone. Not to be used from two threads at once."""

    def __init__(self, steps: Sequence[Mapping[str, Any]] = ()) -> None:
        """`steps` are a task's initialization_actions ({env_type, func_name, arguments})."""
        self.store: dict[str, Any] = {}
        with tau2given.at(self.store):
            for step in steps:
                self.side(step["env_type"])(step["func_name"], step["arguments"])
                _module("telecom.environment").get_environment()  # brings phone and database in line

    def side(self, env_type: str) -> Callable[[str, Mapping[str, Any]], Any]:
        """Calls a method of the agent's ("assistant") or of the user's ("user") side of the world by name."""

        def call(name: str, arguments: Mapping[str, Any]) -> Any:
            with tau2given.at(self.store):
                held = _module("telecom.environment").get_environment()
                return getattr(held.user_tools if env_type == "user" else held.tools, name)(**arguments)

        return call

    def call(self, tools: Mapping[str, Tool], call: ToolCall) -> tuple[str, bool]:
        """(result as the caller reads it, whether the call could be made)."""
        if call.name not in tools:
            return f"Error: no tool {call.name[:60]}; the tools are {', '.join(tools)}", False
        try:
            with tau2given.at(self.store):
                return tools[call.name](call.arguments), True
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            return f"Error: {where}: {first['msg']}", False
        except (tau2given.ToolError, ValueError) as error:
            return f"Error: {error}", False

    def holds(self, assertion: Mapping[str, Any]) -> bool:
        """Whether an env_assertion of a task is as it should be."""
        found = self.side(assertion["env_type"])(assertion["func_name"], assertion["arguments"])
        return bool(found == assertion.get("assert_value", True))


def tools(side: str) -> dict[str, Tool]:
    """The tools of the "assistant" or the "user", by name."""
    return _tools(side)


@functools.cache
def _tools(side: str) -> dict[str, Tool]:
    module = _module("telecom.tools" if side == "assistant" else "telecom.user_tools")
    held = module.all_telecom_agent_tools if side == "assistant" else module.all_telecom_user_tools
    return {made.__name__: Tool(made.__name__, made()) for made in held}


def policy() -> str:
    """What the agent goes by: the main policy and the manual, as the benchmark puts them together."""
    place = folder() / "data" / "domains" / "telecom"
    main, manual = (place / name for name in ("main_policy.txt", "tech_support_manual.txt"))
    return (f"<main_policy>\n{main.read_text()}\n</main_policy>\n"
            f"<tech_support_policy>\n{manual.read_text()}\n</tech_support_policy>\n")


def guidelines() -> str:
    """How the user is to be played."""
    return (folder() / "data" / "user_simulator" / "simulation_guidelines_tools.txt").read_text()


def scenario(held: Mapping[str, Any]) -> str:
    """A task's user_scenario in the words in which the simulator is told of it."""
    kind: type[BaseModel] = _module("data_model.tasks").UserScenario
    return str(kind.model_validate(dict(held)))


def identity() -> dict[str, str]:
    """Whose world, tools and policy."""
    return {"inspect_evals": PACKAGE.version}


class _Loader(SourceFileLoader):
    """Loads a module with its imports turned to our names."""

    def get_code(self, fullname: str) -> CodeType:
        text = Path(self.path).read_text(encoding="utf-8")
        text = re.sub(r"from inspect_ai\.\w+ import", f"from {_GIVEN} import", text)
        text = text.replace("inspect_evals.tau2.utils", _GIVEN).replace("inspect_evals.tau2", _NAME)
        return compile(text, self.path, "exec", dont_inherit=True)


class _Finder:
    """Finds the modules of the package below our name for it."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith(f"{_NAME}.") or path is None:
            return None
        return FileFinder(next(iter(path)), (_Loader, [".py"])).find_spec(fullname)


def _module(name: str) -> Any:
    with _lock:
        if _NAME not in sys.modules:
            package = ModuleType(_NAME)
            package.__path__ = [str(folder())]
            tau2given.TAU2_DATA_DIR = folder() / "data"
            for part in ("telecom", "common", "environment", "data_model"):  # not their __init__, which imports more
                sys.modules[f"{_NAME}.{part}"] = inner = ModuleType(f"{_NAME}.{part}")
                inner.__path__ = [str(folder() / part)]
            sys.meta_path.insert(0, _Finder)
            sys.modules[_NAME] = package
        return import_module(f"{_NAME}.{name}")
