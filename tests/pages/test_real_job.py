"""A job that really runs, looked at as it does: a server, an agent, the engine, a registry, and the browser on top.

An iteration prints what we tell it to and ends when we say so: however busy this machine is, the page is looked at
while the iteration lasts.
"""

import subprocess
from collections.abc import Iterator

import pytest
from pages.browser import Browser
from processes import Agent, joined, serving, wait_until

ITERATIONS = 2
WORD, GO = "/tmp/word", "/tmp/go"
PRINTS = """echo '{"sort": {"latency": {"value": 42.0}}}'"""
WAITS = f"until [ -s {WORD} ]; do sleep 0.1; done; cat {WORD} >&2; until [ -e {GO} ]; do sleep 0.1; done; {PRINTS}"

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("pages")]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent at work for a server of their own: what waits for the other tests is not for it."""
    with (
        serving(tmp_path_factory.mktemp("server")) as server,
        joined(server, tmp_path_factory.mktemp("agent")) as agent,
    ):
        agent.start()
        yield agent
        assert (agent.drain(), agent.left_on_engine(), agent.left_on_disk()) == (0, [], [])


@pytest.fixture
def eyes(browser: Browser, agent: Agent) -> Browser:
    """The browser, which looks at that server."""
    return Browser(browser.driver, agent.server.url)


def test_a_job_is_followed_from_the_queue_to_its_dots(eyes: Browser, agent: Agent, bench_image: str) -> None:
    submitted = agent.server.submit(bench_image, WAITS, iter=ITERATIONS)
    eyes.open(f"/jobs/{submitted['job']}")
    eyes.script("window.same = true")
    for number in range(1, ITERATIONS + 1):
        shows(eyes, f"iterate, iteration {number} of {ITERATIONS}")
        tell(agent, f"echo sample {number} >{WORD}")
        shows(eyes, f"sample {number}")
        assert eyes.script("return document.querySelector('#progress progress').value") == number - 1
        assert eyes.script("return window.same") is True
        tell(agent, f"touch {GO}")
    eyes.until(lambda: eyes.text("#progress .state") == "processed", "the page does not see the end")
    assert len(eyes.all(".iterations-drawn .dot")) == ITERATIONS
    assert len(eyes.all("details.iteration")) == ITERATIONS
    eyes.one("main a[href^='/reports/']").click()
    eyes.until(lambda: "42\u00a0ns" in eyes.text("tbody"), "the report does not show what was printed")
    assert (eyes.complaints(), eyes.strangers()) == ([], [])


def test_cancel_ends_the_container(eyes: Browser, agent: Agent, bench_image: str) -> None:
    submitted = agent.server.submit(bench_image, WAITS, timeout=3600)
    eyes.open(f"/jobs/{submitted['job']}")
    shows(eyes, "iterate, iteration 1 of 1")
    tell(agent, f"echo a sample >{WORD}")
    shows(eyes, "a sample")
    eyes.one("main button.danger").click()
    eyes.until(lambda: eyes.text("#progress .state") == "canceled", "the page does not see the end")
    wait_until(lambda: agent.containers() == [], "the container is still there")
    assert eyes.complaints() == []


def shows(eyes: Browser, text: str) -> None:
    """Wait until the page says so."""
    eyes.until(lambda: text in eyes.text("#progress"), f"the page does not show “{text}”")


def tell(agent: Agent, command: str) -> None:
    """Run a command in the container of the iteration that is under way, once it listens."""

    def told() -> bool:
        found = agent.containers()
        inside = ["docker", "exec", *found, "sh", "-c", command]
        return len(found) == 1 and subprocess.run(inside, check=False, timeout=60).returncode == 0

    wait_until(told, "no container listens")
