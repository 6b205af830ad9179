"""One look at the moment when a process ends, and none where it does not."""

import subprocess
import threading
from collections.abc import Iterator

import pytest

from runner_agent.vigil import Vigil

LOOKED_S_MAX = 30.0


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as running:
        yield running
        running.kill()


def test_the_look_is_taken_when_the_process_ends_and_not_when_it_is_asked_for(process: subprocess.Popen[bytes]) -> None:
    looked, worth = threading.Event(), ["while it ran"]

    def look() -> str:
        found = worth[0]
        looked.set()
        return found

    vigil = Vigil(process.pid, look)
    worth[0] = "at its end"
    process.kill()
    assert looked.wait(LOOKED_S_MAX)
    worth[0] = "when asked"
    assert (vigil.close(), vigil.close()) == ("at its end", "at its end")


def test_a_process_that_goes_on_is_not_looked_at(process: subprocess.Popen[bytes]) -> None:
    looked: list[bool] = []
    vigil = Vigil(process.pid, lambda: looked.append(True))
    assert (vigil.close(), looked) == (None, [])


def test_nobody_can_wait_for_a_process_that_is_gone(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert Vigil(process.pid, lambda: True).close() is None
