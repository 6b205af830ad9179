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

    with Vigil(look) as vigil:
        vigil.begin(process.pid)
        worth[0] = "at its end"
        process.kill()
        assert looked.wait(LOOKED_S_MAX)
        worth[0] = "when asked"
        assert (vigil.end(), vigil.end()) == ("at its end", None)


def test_one_process_after_the_other_is_waited_for() -> None:
    looks: list[int] = []

    def look() -> int:
        looks.append(len(looks))
        return looks[-1]

    found = []
    with Vigil(look) as vigil:
        for _ in range(50):
            with subprocess.Popen(["true"]) as short:
                vigil.begin(short.pid)
            found.append(vigil.end())
    assert (found, looks) == ([*range(50)], [*range(50)])


def test_a_process_that_goes_on_is_not_looked_at(process: subprocess.Popen[bytes]) -> None:
    looked: list[bool] = []
    with Vigil(lambda: looked.append(True)) as vigil:
        vigil.begin(process.pid)
        assert vigil.end() is None
        vigil.begin(process.pid)
    assert looked == []


def test_nobody_can_wait_for_a_process_that_is_gone(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with Vigil(lambda: True) as vigil:
        vigil.begin(process.pid)
        assert vigil.end() is None
