"""What is done to the world: one function for each kind of fault, its details drawn from the seed.

A fault returns at once or after a moment, and leaves damage behind; the next ones come on top of it. The world heals
when it settles. `FAULTS` is the whole list.
"""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from random import Random
from typing import Final

import psycopg
from cable import CALLS, Trap, Way, bad_gateway
from chaos.world import Host, World, signal_all
from processes import Agent

from runner_agent.points import POINTS

Fault = Callable[[World, Random], None]


def agent_killed(world: World, chance: Random) -> None:
    """SIGKILL at any moment, and started again."""
    agent = _host(world, chance).agent
    agent.kill()
    agent.launch()


def agent_killed_at_a_point(world: World, chance: Random) -> None:
    """Killed at a named point, if it gets there soon."""
    agent = _host(world, chance).agent
    agent.kill()
    agent.launch(stop_at=chance.choice(POINTS))
    deadline = time.monotonic() + 6
    while agent.state() != "T" and time.monotonic() < deadline:
        time.sleep(0.05)
    agent.kill()
    agent.launch()


def agent_stalled(world: World, chance: Random) -> None:
    """It stands still, for less than a lease or for longer."""
    agent = _host(world, chance).agent
    agent.process.send_signal(signal.SIGSTOP)
    time.sleep(chance.choice([0.5, 2, 5]))
    agent.process.send_signal(signal.SIGCONT)


def agent_drained(world: World, chance: Random) -> None:
    """SIGTERM, perhaps twice; started again when it has gone."""
    agent = _host(world, chance).agent
    for _ in range(chance.choice([1, 2])):
        _tell(agent, signal.SIGTERM)
        time.sleep(0.2)
    with contextlib.suppress(subprocess.TimeoutExpired):
        agent.process.wait(timeout=5)
        agent.launch()


def agent_reloaded(world: World, chance: Random) -> None:
    """SIGHUP."""
    _tell(_host(world, chance).agent, signal.SIGHUP)


def server_killed(world: World, chance: Random) -> None:
    """SIGKILL; away for a moment."""
    world.server.kill()
    time.sleep(chance.uniform(0, 2))
    world.server.launch()


def server_replaced(world: World, chance: Random) -> None:
    """SIGTERM and a new one, as a deployment does."""
    world.server.process.terminate()
    world.server.process.wait(timeout=60)
    world.server.launch()


def server_killed_at_a_call(world: World, chance: Random) -> None:
    """Just before it hears of a call, or when it has done what was asked and nobody has had the answer."""
    _trap(world, chance, spring=world.server.kill)
    if world.server.process.poll() is not None:
        world.server.launch()


def answer_lost(world: World, chance: Random) -> None:
    """A call or its answer is cut off in its middle by a reset."""
    _trap(world, chance, let_through=chance.choice([0, 0.5]))


def answer_of_a_stranger(world: World, chance: Random) -> None:
    """A proxy answers in the server's place, before or after the server has heard."""
    status = chance.choice([401, 404, 429, 500, 502, 503, 504])
    _trap(world, chance, answer=bad_gateway(status))


def network_silent(world: World, chance: Random) -> None:
    """Nothing arrives, in one direction or in both, and nobody says so."""
    cable = _host(world, chance).cable
    cable.held |= set(chance.choice([[Way.THERE], [Way.BACK], [Way.THERE, Way.BACK]]))
    time.sleep(chance.choice([0.5, 2, 5]))
    if chance.random() < 0.5:
        cable.reset_all()
    cable.held.clear()


def network_cut(world: World, chance: Random) -> None:
    """Every connection is reset, and no new one is to be had for a while."""
    cable = _host(world, chance).cable
    cable.unplugged = True
    cable.reset_all()
    time.sleep(chance.uniform(0, 2))
    cable.unplugged = False


def network_slow(world: World, chance: Random) -> None:
    """Everything takes its time, until the world is healed."""
    _host(world, chance).cable.delay_s = chance.choice([0.05, 0.3, 1.0])


def container_killed(world: World, chance: Random) -> None:
    """Somebody kills a container, or removes it."""
    for container in world.engine.docker("ps", "--quiet").split()[:1]:
        with contextlib.suppress(subprocess.CalledProcessError):
            label = '{{index .Config.Labels "dev.runner-agent.job"}}'
            job = world.engine.docker("inspect", "--format", label, container).strip()
            world.killed_from_outside.add(job)
            world.engine.docker(*chance.choice([["kill"], ["rm", "--force"]]), container)


def engine_killed(world: World, chance: Random) -> None:
    """SIGKILL of the engine, and started again."""
    world.engine.kill()
    time.sleep(chance.uniform(0, 1))
    world.engine.start()


def engine_stalled(world: World, chance: Random) -> None:
    """The engine answers nothing for a while."""
    world.engine.signal(signal.SIGSTOP)
    time.sleep(chance.choice([0.5, 2, 4]))
    world.engine.signal(signal.SIGCONT)


def agents_disk_full(world: World, chance: Random) -> None:
    """No byte is left where reports are spooled, for a while or until the world is healed."""
    disk = _host(world, chance).disk
    disk.fill()
    time.sleep(2)
    if chance.random() < 0.5:
        disk.make_room()


def clock_stepped(world: World, chance: Random) -> None:
    """The wall clock of the server or of a host jumps by up to a day."""
    offset_s = chance.choice([-80_000, -3600, -60, 60, 3600, 80_000])
    world.set_clock(chance.choice([world.clock, *(host.clock for host in world.hosts)]), offset_s)


def database_disk_full(world: World, chance: Random) -> None:
    """No byte is left where SQLite writes."""
    world.disk.fill()
    time.sleep(chance.uniform(0.5, 2))
    world.disk.make_room()


def database_locked(world: World, chance: Random) -> None:
    """Another process holds SQLite's lock for longer than anybody waits for it, or not quite so long."""
    script = f"import sqlite3, time; c = sqlite3.connect({world.server.database.removeprefix('sqlite:///')!r});"
    script += f"c.execute('BEGIN IMMEDIATE'); time.sleep({chance.choice([1, 6])})"
    subprocess.run(["python3", "-c", script], capture_output=True, check=False)


def database_restarted(world: World, chance: Random) -> None:
    """PostgreSQL crashes, or is restarted in order."""
    assert world.postgresql
    world.postgresql.stop(chance.choice(["immediate", "fast"]))
    time.sleep(chance.uniform(0, 2))
    world.postgresql.start()


def connections_dropped(world: World, chance: Random) -> None:
    """Every connection to PostgreSQL ends, as in a failover."""
    assert world.postgresql
    with contextlib.suppress(psycopg.OperationalError):
        world.postgresql.drop_connections()


def database_stalled(world: World, chance: Random) -> None:
    """PostgreSQL stands still, all of its processes."""
    assert world.postgresql
    signal_all(world.postgresql.pid, signal.SIGSTOP)
    time.sleep(chance.choice([0.5, 2, 6]))
    signal_all(world.postgresql.pid, signal.SIGCONT)


FAULTS: Final[tuple[Fault, ...]] = (
    agent_killed,
    agent_killed_at_a_point,
    agent_stalled,
    agent_drained,
    agent_reloaded,
    server_killed,
    server_replaced,
    server_killed_at_a_call,
    answer_lost,
    answer_of_a_stranger,
    network_silent,
    network_cut,
    network_slow,
    container_killed,
    engine_killed,
    engine_stalled,
    agents_disk_full,
    clock_stepped,
)
OF_SQLITE: Final[tuple[Fault, ...]] = (database_disk_full, database_locked)
OF_POSTGRESQL: Final[tuple[Fault, ...]] = (database_restarted, connections_dropped, database_stalled)


def faults_for(database: str) -> tuple[Fault, ...]:
    """Every kind that can be done with this database."""
    return FAULTS + (OF_SQLITE if database == "sqlite" else OF_POSTGRESQL)


def _host(world: World, chance: Random) -> Host:
    return chance.choice(world.hosts)


def _trap(world: World, chance: Random, **what: object) -> None:
    """Set it for any call, either way, and give the agent a moment to walk into it."""
    cable = _host(world, chance).cable
    trap = Trap(chance.choice(list(CALLS)), chance.choice(list(Way)), **what)  # type: ignore[arg-type]
    sprung = cable.sprung
    cable.traps.append(trap)
    deadline = time.monotonic() + 3
    while cable.sprung == sprung and time.monotonic() < deadline:
        time.sleep(0.05)


def _tell(agent: Agent, number: signal.Signals) -> None:
    if agent.process.poll() is None:
        agent.process.send_signal(number)
