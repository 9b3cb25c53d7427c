"""Why there is no answer: one JSON form for all, nothing of the request in it but names."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from training.service.messages import Refusal

MOST_PROBLEMS = 5
_LONGEST_NAME = 60
CLIENT_GONE = 499
"""nginx's number for a client that hung up: nobody receives it, metrics count it."""

RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"model": Refusal, "description": "No token, or a wrong one."},
    404: {"model": Refusal, "description": "The user has no stored history."},
    408: {"model": Refusal, "description": "The body took too long to arrive."},
    409: {"model": Refusal, "description": "The champion does not answer this."},
    413: {"model": Refusal, "description": "The body is too long."},
    422: {"model": Refusal, "description": "The body is no JSON, or does not say what it should."},
    429: {"model": Refusal, "description": "Too many requests wait; see Retry-After."},
    500: {"model": Refusal, "description": "A defect; the log has a line."},
    503: {"model": Refusal, "description": "Nothing serves yet."},
    504: {"model": Refusal, "description": "The answer took too long."},
}


def refusal(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer; whatever its text holds, it is ASCII."""
    body = json.dumps({"error": error}).encode()
    return Response(body, status, dict(headers or {}), media_type="application/json")


def problems_in_words(problems: Sequence[Mapping[str, Any]]) -> str:
    """What pydantic found, without the values that it found it in.

    Example:
        >>> problems_in_words([{"loc": ("k",), "msg": "Input should be at least 1"}])
        'k: Input should be at least 1'
    """
    lines = []
    for problem in problems[:MOST_PROBLEMS]:
        names = [str(name)[:_LONGEST_NAME] for name in problem["loc"]]
        text = str(problem["msg"]).removeprefix("Value error, ")
        lines.append(f"{'.'.join(names)}: {text}" if names else text)
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"and {len(problems) - MOST_PROBLEMS:,} more")
    return "; ".join(lines)
