"""Who looks at a page: the credential in the cookie, and the token that every form carries.

The cookie holds the credential itself, for our server and no script (`HttpOnly`, `SameSite=Lax`), so that a revoked
token ends every visit at once and nothing has to be kept here. A change needs two more things that a foreign site
cannot have: an origin that is ours, and the form's token, which equals a second cookie.
"""

import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from server_stub.access import actor_of
from server_stub.actors import Actor, Credential, CredentialKind, read_authorization
from server_stub.errors import ApiError, ForbiddenError
from server_stub.state import is_https
from server_stub.store.tx import Tx

LOGIN_COOKIE = "bench_login"
FORM_COOKIE = "bench_form"
THEME_COOKIE = "bench_theme"
LOGIN_S_MAX = 30 * 86400
FORM_BYTES = 24


@dataclass(frozen=True, slots=True)
class Visitor:
    """What a request for a page says of the one behind it."""

    credential: Credential
    form_token: str
    theme: str

    def actor(self, tx: Tx) -> Actor:
        """Who that is. A credential that has become worthless leaves nobody in particular."""
        try:
            return actor_of(tx, self.credential)
        except ApiError:
            return Actor()


def visitor_of(request: Request) -> Visitor:
    """Read the cookies."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return Visitor(
        credential=credential_from(request.cookies.get(LOGIN_COOKIE, "")),
        form_token=request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(FORM_BYTES),
        theme=theme if theme in ("light", "dark") else "",
    )


def credential_from(text: str) -> Credential:
    """What someone typed, or what a cookie holds, as a credential."""
    return read_authorization(f"Bearer {text}") if text.strip() else Credential(CredentialKind.NONE)


def require_own_form(request: Request, token: object) -> None:
    """Raise `ForbiddenError` for a change that does not come from a form of ours."""
    origin = request.headers.get("origin")
    ours = request.headers.get("host", "")
    cookie = request.cookies.get(FORM_COOKIE, "")
    if origin is not None and urlsplit(origin).netloc != ours:
        raise ForbiddenError("this change was asked for by another site")
    if not cookie or not isinstance(token, str) or not hmac.compare_digest(cookie.encode(), token.encode()):
        raise ForbiddenError("this form is too old: load the page again")


def remember(request: Request, response: Response, name: str, value: str, s_max: int | None = None) -> None:
    """Set one of our cookies."""
    response.set_cookie(name, value, s_max, httponly=True, samesite="lax", secure=is_https(request))
