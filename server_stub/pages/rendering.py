"""Makes a page from a template: escaped, packed, with the headers that keep it ours. Reads in one transaction."""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import Response

from server_stub.actors import Actor
from server_stub.pages import words
from server_stub.pages.assets import address
from server_stub.pages.headers import SAFE
from server_stub.pages.visitor import FORM_COOKIE, Visitor, remember, visitor_of
from server_stub.state import own_address, state_of
from server_stub.store.tx import Tx

PACKED_BYTES_MIN = 1024
"""Below, packing costs more than it saves."""

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("server_stub.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["asset"] = address
_templates.filters |= words.FILTERS


@dataclass(frozen=True, slots=True)
class Sight:
    """One transaction that reads for one visitor."""

    tx: Tx
    actor: Actor


async def page(
    request: Request, template: str, read: Callable[[Sight], dict[str, Any]] | None = None, **context: Any
) -> Response:
    """A page from what `read` finds for the visitor, and `context`. Raises what `read` raises."""
    visitor = visitor_of(request)

    def work(tx: Tx) -> tuple[Actor, dict[str, Any], int]:
        actor = visitor.actor(tx)
        return actor, read(Sight(tx, actor)) if read else {}, tx.now_ms()

    actor, found, now_ms = await state_of(request).database.read(work)
    return reply(request, visitor, render(template, context | found | frame(request, visitor, actor, now_ms)))


def frame(request: Request, visitor: Visitor, actor: Actor, now_ms: int) -> dict[str, Any]:
    """What every page says around its content."""
    return {
        "who": who(actor),
        "here": request.url.path,
        "server": own_address(request),
        "form_token": visitor.form_token,
        "theme": visitor.theme,
        "now_ms": now_ms,
    }


def who(actor: Actor) -> str | None:
    """The name of the one who looks; none for anybody."""
    if actor.user is not None:
        return str(actor.user["name"])
    return "project key" if actor.project_id is not None else None


def render(template: str, context: dict[str, Any]) -> str:
    """The text of a page, or of a part of one."""
    return _templates.get_template(template).render(context)


def reply(request: Request, visitor: Visitor, text: str, status: int = 200) -> Response:
    """Answer with a page: not kept by anybody between, and not sent again where the browser has it."""
    body = text.encode()
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**SAFE, "cache-control": "private, no-cache", "etag": etag, "vary": "cookie, accept, accept-encoding"}
    if status == 200 and request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if len(body) >= PACKED_BYTES_MIN and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 6, mtime=0)
        headers["content-encoding"] = "gzip"
    response = Response(body, status, headers, "text/html; charset=utf-8")
    if FORM_COOKIE not in request.cookies:
        remember(request, response, FORM_COOKIE, visitor.form_token)
    return response
