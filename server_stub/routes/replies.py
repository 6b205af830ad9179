"""How a route answers: JSON with the number of things behind it."""

from typing import Any

import orjson
from starlette.responses import Response


def json_reply(content: Any, status: int = 200, *, total: int | None = None) -> Response:
    """Answer with `content` as JSON. `total`: of a list, how many there are before paging (`x-total-count`)."""
    headers = {} if total is None else {"x-total-count": str(total)}
    return Response(orjson.dumps(content), status, headers, "application/json")
