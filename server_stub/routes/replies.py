"""How a route answers: JSON with the number of things behind it."""

from typing import Any

import orjson
from starlette.responses import Response

from runner_protocol.problems import Problem


def answers(shape: Any, status: int = 200) -> dict[str, Any]:
    """How a route that answers with `json_reply` stands on the OpenAPI page; `shape`: of its body, None for none."""
    success: dict[str, Any] = {"description": "Done."} if shape is None else {"model": shape}
    refusals = {family: {"model": Problem, "description": text} for family, text in _REFUSALS.items()}
    return {"status_code": status, "response_class": Response, "responses": {status: success, **refusals}}


_REFUSALS = {"4XX": "The request is refused.", "5XX": "The server cannot answer just now."}


def json_reply(content: Any, status: int = 200, *, total: int | None = None) -> Response:
    """Answer with `content` as JSON. `total`: of a list, how many there are before paging (`x-total-count`)."""
    headers = {} if total is None else {"x-total-count": str(total)}
    return Response(orjson.dumps(content), status, headers, "application/json")
