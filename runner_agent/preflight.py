"""Decides whether this host may ask for work just now. Pure: facts in, reasons out; no reason means yes.

A host that is not fit says so to the server and gets no job, rather than taking jobs and failing them. Nothing is
checked while a job runs.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GateFacts:
    """What was found before a claim. None where it cannot be told."""

    engine_error: str | None = None
    image_free_bytes: int | None = None
    """Where the engine keeps images and containers."""
    image_free_inodes: int | None = None
    state_free_bytes: int | None = None
    """Where reports are spooled."""
    spool_bytes: int = 0
    clock_offset_s: float | None = None
    """How far this host's clock is ahead of the server's."""
    cached_images: int | None = None
    cached_bytes: int | None = None
    """Of the images on it, those that this runner has pulled. They block nothing: the cache has its own bound."""


@dataclass(frozen=True, slots=True)
class Floors:
    """How much there must be. Bytes and seconds."""

    image_free_bytes_min: int = 4 << 30
    image_free_inodes_min: int = 10_000
    state_free_bytes_min: int = 512 << 20
    """Twice the largest report: one that waits and one that is being written."""
    spool_bytes_max: int = 8 << 30
    clock_offset_s_max: float = 86_400.0
    """A day: a host whose clock battery is dead would report times of 1970. Smaller steps harm nothing of ours."""


def blocked(facts: GateFacts, floors: Floors) -> list[str]:
    """Why no work may be taken, each reason beginning with one word for machines."""
    reasons = [
        facts.engine_error and f"engine: {facts.engine_error}",
        _short("disk: bytes free for images", facts.image_free_bytes, floors.image_free_bytes_min),
        _short("disk: inodes free for images", facts.image_free_inodes, floors.image_free_inodes_min),
        _short("disk: bytes free for reports", facts.state_free_bytes, floors.state_free_bytes_min),
        _spool_full(facts.spool_bytes, floors.spool_bytes_max),
        _clock_off(facts.clock_offset_s, floors.clock_offset_s_max),
    ]
    return [reason for reason in reasons if reason]


def _short(what: str, free: int | None, least: int) -> str | None:
    return f"{what}: {free}, at least {least} are needed" if free is not None and free < least else None


def _spool_full(size: int, most: int) -> str | None:
    return f"spool: {size} bytes of reports wait here, at most {most} may" if size > most else None


def _clock_off(offset_s: float | None, most_s: float) -> str | None:
    if offset_s is None or abs(offset_s) <= most_s:
        return None
    word = "ahead of" if offset_s > 0 else "behind"
    return f"clock: {abs(offset_s):.0f} s {word} the server's, at most {most_s:.0f} s may be"
