"""The fleet: who is there and what they do, what waits and why, and what came of the day."""

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from server_stub.pages.drawings import day_bars, sparkline
from server_stub.pages.eyes import Eyes, eyes_of
from server_stub.pages.rendering import Sight, page, render
from server_stub.pages.route import BrowserRoute
from server_stub.state import own_address, state_of
from server_stub.store.tx import Row
from server_stub.waiting import RunnerState
from server_stub.watching import FleetSight, look_at_fleet

router = APIRouter(route_class=BrowserRoute, include_in_schema=False)

RUNNERS_SHOWN = 300
OUT = frozenset({RunnerState.LOST, RunnerState.BLOCKED, RunnerState.DRAINED, RunnerState.DRAINING})
DONE = frozenset({"processed", "completed"})
PARTS = ("stats", "runners", "queue", "day")
"""Parts of the page that change by themselves: each is the element and the template of that name."""


@router.get("/")
async def show_fleet(request: Request) -> Response:
    """The fleet as it is now; the page then follows it."""
    settings = state_of(request).settings

    def read(sight: Sight) -> dict[str, Any]:
        return context_of(look_at_fleet(sight.tx, settings), eyes_of(sight.tx, sight.actor), own_address(request))

    return await page(request, "fleet.html", read)


def parts_of(sight: FleetSight, eyes: Eyes, server: str) -> dict[str, str]:
    """The parts of the page, by the ids of their elements. Made once for all who may see the same."""
    made: dict[str, str] | None = sight.parts.get((eyes, server))
    if made is None:
        context = context_of(sight, eyes, server)
        made = {name: render(f"fleet/{name}.html", context) for name in PARTS}
        sight.parts[eyes, server] = made
    return made


def context_of(sight: FleetSight, eyes: Eyes, server: str) -> dict[str, Any]:
    """What the templates of the fleet ask for."""
    words = [runner["word"] for runner in sight.runners]
    return {
        "sight": sight,
        "server": server,
        "eyes": eyes,
        "runners": [_runner(row, eyes) for row in sight.runners[:RUNNERS_SHOWN]],
        "runners_hidden": max(0, len(sight.runners) - RUNNERS_SHOWN),
        "busy": words.count(RunnerState.BUSY) + words.count(RunnerState.DRAINING),
        "idle": words.count(RunnerState.IDLE),
        "out": sum(word in OUT for word in words),
        "pending": sum(int(row["pending"]) for row in sight.depths),
        "oldest_ms": min((row["oldest_ms"] for row in sight.depths if row["oldest_ms"]), default=None),
        "specs": [_spec(row, sight.queue, eyes) for row in sight.depths],
        "day": day_bars([_ended(hour) for hour in sight.hours]),
        "done": sum(_ended(hour)[0] for hour in sight.hours),
        "failed": sum(_ended(hour)[1] for hour in sight.hours),
    }


def _runner(row: Row, eyes: Eyes) -> dict[str, Any]:
    said = json.loads(row["said"]) if row["said"] else {}
    held = row["held"]
    return row | {
        "job": held if eyes.see(held) else None,
        "progress": json.loads(held["progress"]) if held and held["progress"] else None,
        "isolation": said.get("isolation"),
        "blocked": said.get("blocked", []) if eyes.admin else [],
        "reason": row["drain_reason"] if eyes.admin else None,
        "clone": bool(row["rival"]) and eyes.admin,
        "spooled": said.get("spooled", 0),
        "floor": (said.get("host") or {}).get("noise_floor"),
        "spark": sparkline(row["floors"]),
        "out": row["word"] in OUT,
    }


def _spec(depth: Row, queue: list[Row], eyes: Eyes) -> dict[str, Any]:
    waiting = [row for row in queue if row["spec_id"] == depth["spec_id"]]
    return depth | {"jobs": [row if eyes.see(row) else {"uuid": None} | _anonymous(row) for row in waiting]}


def _anonymous(row: Row) -> dict[str, Any]:
    return {"created_ms": row["created_ms"], "project_name": None}


def _ended(hour: dict[str, int]) -> tuple[int, int]:
    """Jobs that ended well, and that failed."""
    return sum(count for state, count in hour.items() if state in DONE), hour.get("failed", 0)
