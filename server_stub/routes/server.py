"""What a client asks about the server itself: that it is there, its version, and where people look at reports."""

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from server_stub.state import own_address, state_of

router = APIRouter(tags=["server"])


class VersionJson(TypedDict):
    """Which API is spoken."""

    version: str


class ConsoleJson(TypedDict):
    """Where links to reports lead."""

    url: str


@router.get("/")
async def ping() -> None:
    """Answer."""


@router.get("/v0/server/version")
async def version(request: Request) -> VersionJson:
    """Tell the version of the API. The command line of the API asks before every call."""
    return {"version": request.app.version}


@router.get("/v0/server/config/console")
async def console(request: Request) -> ConsoleJson:
    """Tell where people look at reports."""
    return {"url": str(state_of(request).settings.console_url or f"{own_address(request)}/")}
