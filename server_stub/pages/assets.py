"""Our style sheets and scripts, each under an address that holds the hash of its content, so that it is kept for ever.

Read and packed once. A file that comes inside another package is served beside ours by a line in `ELSEWHERE`.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import distribution
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from server_stub.errors import NotFoundError
from server_stub.pages.headers import SAFE

router = APIRouter(include_in_schema=False)


def _of_package(package: str, path: str) -> Path:
    """A file that another package carries; nothing of that package is imported."""
    return Path(str(distribution(package).locate_file(path)))


FOLDER = Path(__file__).parent / "static"
ELSEWHERE: dict[str, Callable[[], Path]] = {
    name: partial(_of_package, "uplot-python", f"uplot/static/{name}") for name in ("uPlot.iife.js", "uPlot.min.css")
}
"""Name → where the file of another package lies; asked when the file is first wanted."""
FOREVER = {**SAFE, "cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
HASH_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, whole and packed."""

    content: bytes
    packed: bytes
    media_type: str
    hash: str


@cache
def asset(name: str) -> Asset:
    """A file by its name. Raises `NotFoundError`."""
    path = ELSEWHERE[name]() if name in ELSEWHERE else FOLDER / name
    if (path.parent != FOLDER and name not in ELSEWHERE) or not path.is_file():
        raise NotFoundError(f"there is no file {name!r}")
    content = path.read_bytes()
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    digest = hashlib.sha256(content).hexdigest()[:HASH_CHARACTERS]
    return Asset(content, gzip.compress(content, 9, mtime=0), media_type, digest)


def address(name: str) -> str:
    """Where a page finds a file."""
    return f"/assets/{asset(name).hash}/{name}"


@router.get("/assets/{digest}/{name}")
async def serve(request: Request, digest: str, name: str) -> Response:
    """One file; an address of an older content leads nowhere."""
    found = asset(name)
    if digest != found.hash:
        raise NotFoundError(f"there is no file {name!r} with this content")
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers=FOREVER | {"content-encoding": "gzip"}, media_type=found.media_type)
    return Response(found.content, headers=FOREVER, media_type=found.media_type)
