"""Why a container was killed, where the engine does not say."""

from pathlib import Path
from typing import Any

import pytest

from runner_agent.containers import oom

pytestmark = pytest.mark.anyio

OURS, OTHERS = "8317105d5be9", "7d78f28b5024"
KILLED = {"ExitCode": 137, "OOMKilled": False}


class SilentBox:
    """A container of which the engine has nothing more to say."""

    id = OURS

    def __init__(self, state: dict[str, Any]) -> None:
        self.looks = 0
        self._state = state

    async def inspect(self) -> dict[str, Any]:
        """As an engine does, a new record each time."""
        self.looks += 1
        return {"State": dict(self._state)}


def logged(container: str, *, constraint: str = "CONSTRAINT_MEMCG") -> str:
    where = f"oom_memcg=/docker/{container},task_memcg=/docker/{container}"
    return (
        f"6,1,1,-;oom-kill:constraint={constraint},nodemask=(null),cpuset={container},{where},task=perl,pid=7,uid=0\n"
    )


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oom, "LATE_S_MAX", 0.3)


@pytest.mark.parametrize(
    ("state", "said", "looks", "out_of_memory"),
    [
        (KILLED, logged(OURS), 1, True),
        (KILLED, logged(OTHERS), 4, False),
        (KILLED, logged(OURS, constraint="CONSTRAINT_NONE"), 4, False),
        (KILLED, "", 4, False),
        ({"ExitCode": 1, "OOMKilled": False}, logged(OURS), 1, False),
    ],
)
async def test_a_kill_of_which_the_engine_is_silent_is_found_in_the_kernels_log(
    tmp_path: Path, state: dict[str, Any], said: str, looks: int, out_of_memory: bool
) -> None:
    (tmp_path / "kmsg").write_text(said)
    box = SilentBox(state)
    found = await oom.final(box, tmp_path / "kmsg")  # type: ignore[arg-type]
    assert (box.looks, found["State"]["OOMKilled"]) == (looks, out_of_memory)


async def test_where_the_log_may_not_be_read_the_engine_has_the_last_word(tmp_path: Path) -> None:
    found = await oom.final(SilentBox(KILLED), tmp_path / "none")  # type: ignore[arg-type]
    assert found["State"]["OOMKilled"] is False
