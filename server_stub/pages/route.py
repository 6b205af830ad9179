"""How a page is asked for, and what a person sees instead where it cannot be shown."""

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from server_stub.actors import Actor
from server_stub.errors import ApiError, NotFoundError
from server_stub.pages.rendering import frame, render, reply
from server_stub.pages.visitor import visitor_of

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

TITLES = {
    400: "That cannot be read",
    401: "Log in first",
    403: "Not allowed",
    404: "Nothing here",
    409: "It has moved on",
    503: "Not just now",
}

log = structlog.get_logger()


class PageRoute(APIRoute):
    """Answers what is refused with a page."""

    def get_route_handler(self) -> Handler:
        """Wrap the framework's handler."""
        serve = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await serve(request)
            except ApiError as error:
                return refusal(request, error.status, error.message)
            except RequestValidationError:
                return refusal(request, NotFoundError.status, "the address is not one of ours")

        return shown


class BrowserRoute(PageRoute):
    """Is there for browsers only: programs find the API at the same path, or its own refusal."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match where the reader asks for a page."""
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            return Match.NONE, {}
        return super().matches(scope)


def refusal(request: Request, status: int, message: str) -> Response:
    """A page that says what is wrong, and what to do."""
    visitor = visitor_of(request)
    context = frame(request, visitor, Actor(), 0) | {
        "title": TITLES.get(status, "That did not work"),
        "message": message,
        "status": status,
        "logged_in": bool(visitor.credential.secret),
    }
    return reply(request, visitor, render("refusal.html", context), status)
