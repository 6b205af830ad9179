"""Series of metrics of a project, as numbers and as a picture."""

from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from server_stub import perf, picture
from server_stub.perf import PerfQuery
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import PerfJson
from server_stub.state import state_of

router = APIRouter(prefix="/v0/projects/{project}/perf", tags=["perf"])

IMAGES = {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}, "image/png": {}}


class PictureQuery(PerfQuery):
    """Which series are wanted, and what stands above them."""

    title: str | None = Field(default=None, max_length=1024, description="Absent: the name of the project.")


@router.get("", **answers(PerfJson))
async def get_perf(call: Call, query: Annotated[PerfQuery, Query()]) -> Response:
    """Series of metrics, one for each combination of the lists that has any; 255 combinations at most are looked at."""
    return json_reply(await call.read(lambda scope: perf.read(scope, query)))


@router.get("/img", **answers(None) | {"responses": {**answers(None)["responses"], 200: {"content": IMAGES}}})
async def get_perf_picture(request: Request, call: Call, query: Annotated[PictureQuery, Query()]) -> Response:
    """The same series as a picture: JPEG, or PNG for those who ask for it rather."""
    series = await call.read(lambda scope: perf.read(scope, query))
    wanted = preferred(request.headers.get("accept", ""))
    # In a thread, and few at a time: a picture costs a core tens of milliseconds, which no long poll should wait for.
    paint = partial(picture.draw, series, query.title, wanted)
    painted = await anyio.to_thread.run_sync(paint, limiter=state_of(request).painters)
    return Response(painted, headers={"vary": "accept", "cache-control": "no-cache"}, media_type=f"image/{wanted}")


def preferred(accept: str) -> picture.Format:
    """What an `Accept` header asks for: JPEG, unless it names PNG and does not want JPEG as much."""
    weights = {}
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weights[kind] = next((_weight(one) for one in parameters if one.startswith("q=")), 1.0)
    any_image = weights.get("image/*", weights.get("*/*", 0.0))
    png, jpeg = weights.get("image/png", any_image), weights.get("image/jpeg", weights.get("image/jpg", any_image))
    return "png" if png > jpeg else "jpeg"


def _weight(text: str) -> float:
    try:
        return float(text.removeprefix("q="))
    except ValueError:
        return 0.0
