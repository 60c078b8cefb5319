"""What goes wrong with a request, in each client's own shape. A client's mistake is never a 5xx: SDKs retry those."""

from __future__ import annotations

from typing import Any, Literal

from starlette.responses import JSONResponse

Shape = Literal["openai", "anthropic", "ollama"]


class ApiError(Exception):
    """`code` and `param` are OpenAI's; `retry_after` in seconds."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None,
        retry_after: float | None = None, extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after, self.extra = retry_after, extra or {}

    @property
    def type(self) -> str:
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error",
                 413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error"}  # fmt: skip
        return kinds.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")

    def body(self, shape: Shape) -> dict[str, Any]:
        if shape == "ollama":
            return {"error": self.message}
        if shape == "anthropic":
            return {"type": "error", "error": {"type": self.type, "message": self.message}}
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code,
                          **self.extra}}  # fmt: skip

    def response(self, shape: Shape) -> JSONResponse:
        headers = {} if self.retry_after is None else {"retry-after": str(max(1, round(self.retry_after)))}
        return JSONResponse(self.body(shape), self.status, headers=headers)


def bad(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400: the client should send something else."""
    return ApiError(400, message, param=param, code=code)


def unsupported(param: str, why: str) -> ApiError:
    """400: the field is known and would change the answer, and this server cannot honour it."""
    return ApiError(400, f"{param} is not supported: {why}", param=param, code="unsupported_parameter")


def shape_of(path: str) -> Shape:
    """Which clients call this path."""
    if path.startswith("/api/"):
        return "ollama"
    return "anthropic" if path.startswith("/v1/messages") else "openai"
