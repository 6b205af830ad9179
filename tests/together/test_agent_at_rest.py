"""A real agent with nothing to do: how large it is, and who could learn its key."""

import resource
from collections.abc import Iterator

import psutil
import pytest
from processes import Agent, joined, serving, wait_until

pytestmark = pytest.mark.docker

OWN_BYTES_MAX = 50 << 20


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """It has asked for work, and waits."""
    with (
        serving(tmp_path_factory.mktemp("server")) as server,
        joined(server, tmp_path_factory.mktemp("agent"), settings={"RUNNER_AGENT_LOG_LEVEL": "debug"}) as agent,
    ):
        agent.start()
        wait_until(lambda: '"idle"' in server.operate("runner", "list", "--json"), agent.log)
        yield agent


def test_an_agent_at_rest_has_less_than_50_mib_of_its_own(agent: Agent) -> None:
    found = psutil.Process(agent.process.pid).memory_full_info()
    print(f"resident {found.rss / 2**20:.1f} MiB, of which nobody shares {found.uss / 2**20:.1f} MiB")
    assert found.uss < OWN_BYTES_MAX


def test_an_agents_key_is_in_no_argument_no_variable_no_log_line_and_no_core_dump(agent: Agent) -> None:
    key, process = (agent.folder / "key").read_text(), psutil.Process(agent.process.pid)
    places = [*process.cmdline(), *process.environ().values(), agent.log()]
    assert [place for place in places if key in place] == []
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) in ((0, 0), (1, 1))
