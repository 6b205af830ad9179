"""Logging in with a token, and out again."""

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from server_stub.access import actor_of
from server_stub.actors import Actor, CredentialKind
from server_stub.errors import ApiError
from server_stub.pages.rendering import frame, page, render, reply
from server_stub.pages.route import PageRoute
from server_stub.pages.visitor import LOGIN_COOKIE, LOGIN_S_MAX, credential_from, remember, require_own_form, visitor_of
from server_stub.state import state_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login")
@router.get("/auth/signup")
async def show_login(request: Request) -> Response:
    """The form."""
    return await page(request, "login.html", next=_within(request.query_params.get("next", "/")), wrong=None)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Keep the token, where it is one, and lead back to where the visitor came from."""
    form = await request.form()
    require_own_form(request, form.get("form_token"))
    credential = credential_from(str(form.get("token", "")))
    there = _within(str(form.get("next", "/")))
    try:
        if credential.kind is CredentialKind.NONE:
            return _refused(request, there, "no token was given")
        await state_of(request).database.read(lambda tx: actor_of(tx, credential))
    except ApiError as error:
        return _refused(request, there, error.message)
    response = RedirectResponse(there, 303)
    remember(request, response, LOGIN_COOKIE, credential.secret, LOGIN_S_MAX)
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """Forget the token."""
    form = await request.form()
    require_own_form(request, form.get("form_token"))
    response = RedirectResponse("/", 303)
    response.delete_cookie(LOGIN_COOKIE)
    return response


def _refused(request: Request, there: str, wrong: str) -> Response:
    visitor = visitor_of(request)
    context = frame(request, visitor, Actor(), 0) | {"next": there, "wrong": wrong}
    return reply(request, visitor, render("login.html", context), 401)


def _within(path: str) -> str:
    """A path on this server, whatever was asked for."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if inside else "/"
