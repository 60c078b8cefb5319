"""The OpenAPI 3.1 document of this server: what each path takes and gives, as far as this server reads it.

Requests may hold more than is listed (clients send fields of their own), so nothing is closed. Schemas of answers name
what is always there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required.split()}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _number(low: float, high: float) -> Schema:
    return _maybe({"type": "number", "minimum": low, "maximum": high})


_LIMIT = _maybe({"type": "integer", "minimum": 1, "maximum": 2**31})
_STOP = _maybe({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 16}]})
_CONTENT: Schema = {"anyOf": [_TEXT, {"type": "null"}, {"type": "array", "items": _object(
    "type text", type={"const": "text"}, text=_TEXT)}]}  # fmt: skip
_SAMPLING: dict[str, Schema] = {
    "temperature": _number(0, 2), "top_p": _number(0, 1), "seed": _maybe({"type": "integer"}),
    "frequency_penalty": _number(-2, 2), "presence_penalty": _number(-2, 2), "stream": _maybe({"type": "boolean"}),
}
_PARAMETERS: Schema = {"type": "object"}
_FUNCTION = _object("name", name={"type": "string", "minLength": 1, "maxLength": 64}, description=_TEXT,
                    parameters=_PARAMETERS)  # fmt: skip
_TOOL = _object("type function", type={"const": "function"}, function=_FUNCTION)
_MESSAGE = _object("role content", role={"enum": ["system", "developer", "user", "assistant"]}, content=_CONTENT)
_FORMAT = _maybe(_object("type", type={"enum": ["text", "json_object"]}))

_REQUESTS: dict[str, Schema] = {
    "ChatRequest": _object(
        "messages", model=_TEXT, messages={"type": "array", "items": _MESSAGE, "minItems": 1}, max_tokens=_LIMIT,
        max_completion_tokens=_LIMIT, stop=_STOP, n=_maybe({"type": "integer", "minimum": 1, "maximum": 16}),
        tools={"type": "array", "items": _TOOL}, response_format=_FORMAT, logprobs=_maybe({"type": "boolean"}),
        **_SAMPLING),
    "CompletionRequest": _object("prompt", model=_TEXT, prompt=_TEXT, suffix=_maybe(_TEXT), max_tokens=_LIMIT,
                                 stop=_STOP, **_SAMPLING),
    "ResponseRequest": _object("input", model=_TEXT, input=_TEXT, instructions=_maybe(_TEXT),
                               max_output_tokens=_LIMIT, **_SAMPLING),
    "MessagesRequest": _object(
        "messages max_tokens", model=_TEXT, max_tokens={"type": "integer", "minimum": 1, "maximum": 2**31},
        messages={"type": "array", "minItems": 1, "items": _object(
            "role content", role={"enum": ["user", "assistant"]}, content=_TEXT)},
        system=_maybe(_TEXT), temperature=_number(0, 1), stream=_maybe({"type": "boolean"})),
    "OllamaChatRequest": _object(
        "model messages", model=_TEXT, messages={"type": "array", "minItems": 1, "items": _object(
            "role content", role={"enum": ["system", "user", "assistant"]}, content=_TEXT)},
        stream=_maybe({"type": "boolean"}), format={"enum": ["", "json"]}, options={"type": "object", "properties": {
            "num_predict": {"type": "integer", "minimum": -2, "maximum": 2**31}, "temperature": _number(0, 100)}}),
    "OllamaGenerateRequest": _object("model prompt", model=_TEXT, prompt=_TEXT, suffix=_TEXT, system=_TEXT,
                                     stream=_maybe({"type": "boolean"})),
    "OllamaShowRequest": _object("model", model=_TEXT),
    "TokenizeRequest": _object("content", model=_TEXT, content=_TEXT),
}  # fmt: skip

_USAGE = _object("prompt_tokens completion_tokens total_tokens", prompt_tokens=_COUNT, completion_tokens=_COUNT,
                 total_tokens=_COUNT)  # fmt: skip
_ANSWERS: dict[str, Schema] = {
    "ChatAnswer": _object(
        "id object created model choices usage", id=_TEXT, object={"const": "chat.completion"}, created=_COUNT,
        model=_TEXT, usage=_USAGE, choices={"type": "array", "minItems": 1, "items": _object(
            "index message finish_reason", index=_COUNT,
            finish_reason={"enum": ["stop", "length", "tool_calls", "content_filter"]},
            message=_object("role content", role={"const": "assistant"}, content=_maybe(_TEXT)))}),
    "CompletionAnswer": _object(
        "id object created model choices usage", object={"const": "text_completion"}, usage=_USAGE,
        choices={"type": "array", "minItems": 1, "items": _object("index text finish_reason", text=_TEXT)}),
    "ResponseAnswer": _object(
        "id object status output usage", object={"const": "response"}, output={"type": "array"},
        status={"enum": ["completed", "incomplete"]},
        usage=_object("input_tokens output_tokens total_tokens", total_tokens=_COUNT)),
    "MessagesAnswer": _object("id type role content stop_reason usage", type={"const": "message"},
                              content={"type": "array"}),
    "TokenCount": _object("input_tokens", input_tokens=_COUNT),
    "OllamaChatAnswer": _object("model created_at message done", done={"type": "boolean"}),
    "OllamaGenerateAnswer": _object("model created_at response done", response=_TEXT),
    "OllamaModel": _object("details model_info capabilities", capabilities={"type": "array", "items": _TEXT}),
    "Tokens": _object("tokens count", tokens={"type": "array", "items": _COUNT}, count=_COUNT),
    "Models": _object("object data", data={"type": "array", "items": _object("id object", id=_TEXT)}),
    "OllamaModels": _object("models", models={"type": "array", "items": _object("name model", name=_TEXT)}),
    "Version": _object("version", version=_TEXT),
    "State": _object("status", status=_TEXT),
    "OpenAIError": _object("error", error=_object(
        "message type param code", message=_TEXT, type=_TEXT, param=_maybe(_TEXT), code=_maybe(_TEXT))),
    "AnthropicError": _object("type error", type={"const": "error"}, error=_object("type message", message=_TEXT)),
    "OllamaError": _object("error", error=_TEXT),
}  # fmt: skip

# method, path, request, answer, kind of a stream
_PATHS = (
    ("post", "/v1/chat/completions", "ChatRequest", "ChatAnswer", "text/event-stream"),
    ("post", "/v1/completions", "CompletionRequest", "CompletionAnswer", "text/event-stream"),
    ("post", "/v1/responses", "ResponseRequest", "ResponseAnswer", "text/event-stream"),
    ("post", "/v1/messages", "MessagesRequest", "MessagesAnswer", "text/event-stream"),
    ("post", "/v1/messages/count_tokens", "MessagesRequest", "TokenCount", ""),
    ("post", "/tokenize", "TokenizeRequest", "Tokens", ""),
    ("post", "/api/chat", "OllamaChatRequest", "OllamaChatAnswer", "application/x-ndjson"),
    ("post", "/api/generate", "OllamaGenerateRequest", "OllamaGenerateAnswer", "application/x-ndjson"),
    ("post", "/api/show", "OllamaShowRequest", "OllamaModel", ""),
    ("get", "/v1/models", "", "Models", ""),
    ("get", "/api/tags", "", "OllamaModels", ""),
    ("get", "/api/ps", "", "OllamaModels", ""),
    ("get", "/api/version", "", "Version", ""),
    ("get", "/health", "", "State", ""),
)
_REFUSALS = {"400": "the request is wrong", "401": "no valid key", "404": "no such model",
             "413": "the request is too large", "429": "too many requests; retry-after says when"}  # fmt: skip


def document(version: str, models: Sequence[str]) -> dict[str, Any]:
    """The whole document, a JSON value. `models`: the names that a request may ask for."""
    schemas: dict[str, Schema] = copy.deepcopy({**_REQUESTS, **_ANSWERS})
    for name in _REQUESTS:
        schemas[name]["properties"]["model"] = {"enum": list(models)}
    return {
        "openapi": "3.1.0", "info": {"title": "Vivace", "version": version},
        "paths": {path: {method: _operation(path, request, answer, streamed)}
                  for method, path, request, answer, streamed in _PATHS},
        "components": {"schemas": schemas,
                       "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _operation(path: str, request: str, answer: str, streamed: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _named(answer)}}
    if streamed:
        content[streamed] = {}
    error = "OllamaError" if path.startswith("/api/") else "OpenAIError"
    error = "AnthropicError" if path.startswith("/v1/messages") else error
    refusals = _REFUSALS if request else {"401": _REFUSALS["401"]}
    made: dict[str, Any] = {"security": [{}, {"key": []}], "responses": {
        "200": {"description": "the answer", "content": content},
        **{code: {"description": why, "content": {"application/json": {"schema": _named(error)}}}
           for code, why in refusals.items()},
    }}  # fmt: skip
    if request:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": _named(request)}}}
    return made


def _named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
