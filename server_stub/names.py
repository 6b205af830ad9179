"""The scalar types of the public API: identifiers, names, hashes and times, and the slugs made from names.

Every `parse_*` function takes one JSON value and returns what it means, or raises `ValueError` with the rule that was
broken. The capitalised names are the same rules as pydantic types. Reads no clock and draws no chance: both come in as
arguments. Knows nothing of what is stored; a caller says which slugs are taken.
"""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import BeforeValidator, WithJsonSchema
from text_unidecode import unidecode  # type: ignore[import-untyped]  # The package ships no types.

SLUG_CHARACTERS_MAX: Final = 64
RESOURCE_NAME_BYTES_MAX: Final = 64
BRANCH_NAME_BYTES_MAX: Final = 256
BENCHMARK_NAME_BYTES_MAX: Final = 1024

BASE_36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
SUFFIX_CHARACTERS: Final = 8
SLUG_TRIES_MAX: Final = 100

IGNORE_SUFFIXES: Final = ("_bencher_ignore", "BencherIgnore", "-bencher-ignore")
"""Tested in this order; one of them is removed, once."""

# A hyphenated UUID may stand bare, in braces or behind `urn:uuid:`; 32 bare digits stand alone.
_HYPHENATED = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UUID = re.compile(rf"[0-9a-fA-F]{{32}}|{_HYPHENATED}|\{{{_HYPHENATED}\}}|urn:uuid:{_HYPHENATED}")
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_GIT_HASH = re.compile(r"[0-9a-fA-F]{40}")
_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

# The rules of git-check-ref-format(1) with --allow-onelevel, each with what a person should read about it.
_REF_RULES = (
    (re.compile(r"[\x00-\x20\x7f~^:?*\[\\]"), "must not hold a space, a control character or any of ~^:?*[\\"),
    (re.compile(r"\.\."), "must not hold two dots in a row"),
    (re.compile(r"@\{|^@$"), "must not hold `@{` nor be a single `@`"),
    (re.compile(r"^/|/$|//"), "must not start or end with a slash, nor hold two in a row"),
    (re.compile(r"(?:^|/)\."), "must not have a component that starts with a dot"),
    (re.compile(r"\.$"), "must not end with a dot"),
    (re.compile(r"\.lock(?:$|/)"), "must not have a component that ends with `.lock`"),
)


class IdKind(StrEnum):
    """Which column an identifier is looked up in."""

    UUID = "uuid"
    SLUG = "slug"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class NameId:
    """An identifier as a client gave it. A UUID is kept in its lower-case hyphenated form."""

    kind: IdKind
    value: str

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class BenchmarkKey:
    """How a benchmark is looked up or made, and whether its outliers raise alerts."""

    id: NameId
    ignored: bool


def parse_text(value: object) -> str:
    """Return a string that every store can hold: Unicode without lone surrogates or NUL (PostgreSQL keeps neither)."""
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  # pydantic reports a ValueError, and raises a TypeError.
    if "\x00" in value:
        raise ValueError("must not hold a NUL character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not hold half of a surrogate pair")
    return value


def _sized(value: object, bytes_max: int) -> str:
    text = parse_text(value)
    size = len(text.encode())
    if not 1 <= size <= bytes_max:
        raise ValueError(f"must have 1 to {bytes_max} bytes, has {size}")
    return text


def parse_uuid(value: object) -> UUID:
    """Return the UUID of any form that Rust's `uuid` reads: hyphenated, 32 bare digits, in braces, or as a URN."""
    if isinstance(value, UUID):
        return value
    text = parse_text(value)
    if not _UUID.fullmatch(text):
        raise ValueError("must be a UUID")
    return UUID(text)


def parse_slug(value: object) -> str:
    """Return a slug: 1 to 64 of a-z and 0-9, with single hyphens inside."""
    text = parse_text(value)
    if len(text) > SLUG_CHARACTERS_MAX or not _SLUG.fullmatch(text):
        raise ValueError(f"must be a slug: 1 to {SLUG_CHARACTERS_MAX} of a-z and 0-9 with single hyphens inside")
    return text


def parse_resource_name(value: object) -> str:
    """Return the name of a testbed, measure, project, unit, spec or key: 1 to 64 bytes, no white space around it."""
    text = _sized(value, RESOURCE_NAME_BYTES_MAX)
    if text != text.strip():
        raise ValueError("must not start or end with white space")
    return text


def parse_branch_name(value: object) -> str:
    """Return a branch name: 1 to 256 bytes that git takes for a ref, see git-check-ref-format(1)."""
    text = _sized(value, BRANCH_NAME_BYTES_MAX)
    for pattern, rule in _REF_RULES:
        # `$` also matches before a last line feed, which the first rule has refused by then.
        if pattern.search(text):
            raise ValueError(f"a branch name {rule}")
    return text


def parse_benchmark_name(value: object) -> str:
    """Return a benchmark name: 1 to 1024 bytes, kept as it stands, white space included."""
    return _sized(value, BENCHMARK_NAME_BYTES_MAX)


def parse_git_hash(value: object) -> str:
    """Return a commit hash of exactly 40 hex digits, in the case it was given."""
    text = parse_text(value)
    if not _GIT_HASH.fullmatch(text):
        raise ValueError("must be exactly 40 hex digits")
    return text


def parse_date_time(value: object) -> datetime:
    """Return an RFC 3339 time as UTC in whole seconds; the fraction is dropped and a leap second is read as :59."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(microsecond=0)
    match = _DATE_TIME.fullmatch(parse_text(value))
    if match is None:
        raise ValueError("must be an RFC 3339 time with an offset, such as 2024-01-01T00:00:00Z")
    date, hour_minute, second, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{hour_minute}{'59' if second == '60' else second}{offset.upper()}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time that exists, within the years 1 to 9999 of UTC") from None


def parse_name_id(value: object, parse_name: Callable[[object], str]) -> NameId:
    """Read an identifier as a UUID, else as a slug, else as a name by `parse_name`, whose rule an error states."""
    if isinstance(value, NameId):
        return value
    text = parse_text(value)
    if _UUID.fullmatch(text):
        return NameId(IdKind.UUID, str(UUID(text)))
    if len(text) <= SLUG_CHARACTERS_MAX and _SLUG.fullmatch(text):
        return NameId(IdKind.SLUG, text)
    return NameId(IdKind.NAME, parse_name(text))


def parse_resource_id(value: object) -> NameId:
    """Read the identifier of a project, spec or runner: a UUID or a slug, never a name."""
    return parse_name_id(value, _refuse_name)


def _refuse_name(_: object) -> str:
    raise ValueError("must be a UUID or a slug")


def parse_branch_id(value: object) -> NameId:
    """Read the identifier of a branch."""
    return parse_name_id(value, parse_branch_name)


def parse_resource_name_id(value: object) -> NameId:
    """Read the identifier of a testbed or a measure."""
    return parse_name_id(value, parse_resource_name)


def parse_benchmark_id(value: object) -> NameId:
    """Read the identifier of a benchmark."""
    return parse_name_id(value, parse_benchmark_name)


def benchmark_key(key: str, *, key_is_name: bool) -> BenchmarkKey:
    """Read the key of a benchmark among results.

    An ignore suffix is stripped from a slug or a name, and what is left is looked up as a name. A key that is nothing
    but the suffix raises `ValueError`, as any other bad name does.
    """
    known = NameId(IdKind.NAME, parse_benchmark_name(key)) if key_is_name else parse_benchmark_id(key)
    if known.kind is not IdKind.UUID:
        for suffix in IGNORE_SUFFIXES:
            if known.value.endswith(suffix):
                stem = parse_benchmark_name(known.value.removesuffix(suffix))
                return BenchmarkKey(NameId(IdKind.NAME, stem), ignored=True)
    return BenchmarkKey(known, ignored=False)


def slugify(text: str) -> str:
    """Return `text` as a slug of any length: to ASCII, to lower case, one hyphen for each run of anything else.

    Text without a letter or digit gives the empty string, which is no slug.
    """
    return re.sub(r"[^a-z0-9]+", "-", unidecode(text).lower()).strip("-")


def slug_of(text: str) -> str:
    """Return the slug that `text` asks for, of at most 64 characters, or the empty string where there is none."""
    return slugify(text)[:SLUG_CHARACTERS_MAX].strip("-")


def unique_slug(base: str, taken: Container[str], now_s: int, randbelow: Callable[[int], int]) -> str:
    """Return a slug for the name `base` that is not in `taken`.

    A free slug is used as it is. Else its first 55 characters get `-` and 8 more: the Unix seconds in base 36, filled
    up by chance. Two characters of chance do not go far, so after the first try all eight are chance. Raises
    `ValueError` when `taken` holds everything that was tried.
    """
    slug = slug_of(base) or _chance(SUFFIX_CHARACTERS, randbelow)
    stem = slug[: SLUG_CHARACTERS_MAX - 1 - SUFFIX_CHARACTERS].strip("-")
    stamp = base_36(now_s)[:SUFFIX_CHARACTERS]
    for _ in range(SLUG_TRIES_MAX):
        if slug not in taken:
            return slug
        slug = f"{stem}-{stamp}{_chance(SUFFIX_CHARACTERS - len(stamp), randbelow)}"
        stamp = ""
    raise ValueError(f"no free slug for {stem!r} in {SLUG_TRIES_MAX} tries")


def base_36(number: int) -> str:
    """Return a number that is not negative in base 36, lower case."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE_36[digit] + digits
    return digits or "0"


def _chance(length: int, randbelow: Callable[[int], int]) -> str:
    return "".join(BASE_36[randbelow(36)] for _ in range(length))


def uuid7(now_ms: int, random: bytes) -> UUID:
    """Return a UUID of version 7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, 74 bits of the ten `random` bytes."""
    chance = int.from_bytes(random[:10])
    bits = (
        (now_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 64 & 0xFFF) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    )
    return UUID(int=bits)


def _string(description: str, example: str, **schema: object) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, "examples": [example], **schema})


_UUID_TEXT = "018f3f0e-8c1a-7000-8000-000000000000"
_NAME_ID = "A UUID, a slug or a name, tried in this order."

Text = Annotated[str, BeforeValidator(parse_text), WithJsonSchema({"type": "string"})]
"""Any string that can be stored: no NUL, no half of a surrogate pair."""
Uuid = Annotated[UUID, BeforeValidator(parse_uuid), _string("A UUID.", _UUID_TEXT, format="uuid")]
Slug = Annotated[
    str,
    BeforeValidator(parse_slug),
    _string("A slug.", "my-project", minLength=1, maxLength=64, pattern="^[a-z0-9]+(-[a-z0-9]+)*$"),
]
ResourceName = Annotated[
    str,
    BeforeValidator(parse_resource_name),
    _string("A name of 1 to 64 bytes without white space around it.", "Bare Metal 1", minLength=1, maxLength=64),
]
BranchName = Annotated[
    str, BeforeValidator(parse_branch_name), _string("A git ref name.", "feature/faster", minLength=1, maxLength=256)
]
BenchmarkName = Annotated[
    str,
    BeforeValidator(parse_benchmark_name),
    _string("A name of 1 to 1024 bytes.", "parse::small", minLength=1, maxLength=1024),
]
GitHash = Annotated[
    str,
    BeforeValidator(parse_git_hash),
    _string("A commit.", "5a3d2e1f" * 5, pattern="^[0-9a-fA-F]{40}$"),
]
ResourceId = Annotated[
    NameId, BeforeValidator(parse_resource_id), _string("A UUID or a slug.", "my-project", minLength=1, maxLength=64)
]
BranchId = Annotated[NameId, BeforeValidator(parse_branch_id), _string(_NAME_ID, "main", minLength=1, maxLength=256)]
ResourceNameId = Annotated[
    NameId, BeforeValidator(parse_resource_name_id), _string(_NAME_ID, "localhost", minLength=1, maxLength=64)
]
BenchmarkId = Annotated[
    NameId, BeforeValidator(parse_benchmark_id), _string(_NAME_ID, "parse-small", minLength=1, maxLength=1024)
]
DateTime = Annotated[
    datetime,
    BeforeValidator(parse_date_time),
    _string("RFC 3339 with an offset; kept as UTC in whole seconds.", "2024-01-01T00:00:00Z", format="date-time"),
]
