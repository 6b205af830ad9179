"""API tokens: JSON Web Tokens signed with HMAC-SHA-256 (RFC 7515, 7519), which the command line of the API asks for.

Pure: the time, the secret and the claims come in. Reads only tokens of the one algorithm that it writes, so that a
token cannot choose how it is checked.
"""

import binascii
import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

AUDIENCE: Final = "api_key"
ISSUER: Final = "server-stub"
_HEADER: Final = {"typ": "JWT", "alg": "HS256"}


def sign(secret: bytes, subject: str, token_id: str, issued_s: int, expires_s: int) -> str:
    """A token for `subject` (an e-mail address), valid until `expires_s`."""
    claims = {
        "aud": AUDIENCE,
        "exp": expires_s,
        "iat": issued_s,
        "iss": ISSUER,
        "jti": token_id,
        "sub": subject,
    }
    signed = f"{_encode(_HEADER)}.{_encode(claims)}"
    return f"{signed}.{_text(_signature(secret, signed))}"


def verify(secret: bytes, token: str, now_s: int) -> str:
    """The subject of a valid token. Raises `ValueError` saying what is wrong, without quoting it."""
    signed, _, signature = token.rpartition(".")
    header, _, claims = signed.partition(".")
    if not hmac.compare_digest(_signature(secret, signed), _bytes(signature)):
        raise ValueError("the API token's signature is not ours")
    if _decode(header).get("alg") != _HEADER["alg"]:
        raise ValueError("the API token is signed by another algorithm")
    return _subject(_decode(claims), now_s)


def _subject(claims: dict[str, Any], now_s: int) -> str:
    if claims.get("aud") != AUDIENCE or not isinstance(claims.get("sub"), str):
        raise ValueError("the API token is not meant for this API")
    if not isinstance(claims.get("exp"), int) or claims["exp"] <= now_s:
        raise ValueError("the API token has expired")
    return str(claims["sub"])


def _signature(secret: bytes, signed: str) -> bytes:
    return hmac.digest(secret, signed.encode(), hashlib.sha256)


def _encode(content: dict[str, Any]) -> str:
    return _text(json.dumps(content, separators=(",", ":")).encode())


def _decode(part: str) -> dict[str, Any]:
    try:
        content = json.loads(_bytes(part))
    except ValueError:
        raise ValueError("the API token holds no JSON") from None
    return content if isinstance(content, dict) else {}


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise ValueError("the API token is not base64url") from None
