"""What is done to the world: one function for each kind of fault, its details drawn from the seed.

A fault returns after a moment, and leaves damage behind; the next ones come on top of it. The world heals when it
settles. `FAULTS` and what either database adds to it are the whole list.
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
from chaos.world import KINDS, LARGE, LEASE_S, LONG, Host, World, signal_all
from processes import Agent

from runner_agent.points import POINTS

Fault = Callable[[World, Random], str]
"""Tells what it did; `MISSED` where it found nothing to do it to."""
MISSED: Final = "missed"


def agent_killed(world: World, chance: Random) -> str:
    """SIGKILL at any moment, and started again."""
    time.sleep(chance.uniform(0, 1))
    agent = _host(world, chance).agent
    agent.kill()
    agent.launch()
    return "at some moment"


def agent_killed_at_a_point(world: World, chance: Random) -> str:
    """Killed at a named point, if it gets there soon."""
    agent = _host(world, chance).agent
    agent.kill()
    for _ in world.hosts:  # The others take one too.
        _ask_for_a_run(world, chance)
    agent.launch(stop_at=(point := chance.choice(POINTS)))
    reached = _soon(lambda: agent.state() == "T", within_s=20)
    agent.kill()
    agent.launch()
    return point if reached else MISSED


def agent_stalled(world: World, chance: Random) -> str:
    """It stands still, for less than a lease or for longer."""
    agent = _host(world, chance).agent
    agent.process.send_signal(signal.SIGSTOP)
    time.sleep(stood_s := chance.choice([0.3, 1, LEASE_S + 1]))
    agent.process.send_signal(signal.SIGCONT)
    return f"{stood_s} s"


def agent_drained(world: World, chance: Random) -> str:
    """SIGTERM, perhaps twice; started again when it has gone."""
    agent = _host(world, chance).agent
    for _ in range(signals := chance.choice([1, 2])):
        _tell(agent, signal.SIGTERM)
        time.sleep(0.2)
    with contextlib.suppress(subprocess.TimeoutExpired):
        agent.process.wait(timeout=5)
        agent.launch()
    return f"{signals} x SIGTERM"


def agent_reloaded(world: World, chance: Random) -> str:
    """SIGHUP."""
    _tell(_host(world, chance).agent, signal.SIGHUP)
    return "SIGHUP"


def server_killed(world: World, chance: Random) -> str:
    """SIGKILL; away for a moment."""
    world.server.kill()
    time.sleep(away_s := chance.choice([0, 0.5, 2]))
    world.server.launch()
    return f"away for {away_s} s"


def server_replaced(world: World, chance: Random) -> str:
    """SIGTERM and a new one, as a deployment does."""
    world.server.process.terminate()
    world.server.process.wait(timeout=60)
    world.server.launch()
    return "SIGTERM"


def server_killed_at_a_call(world: World, chance: Random) -> str:
    """Just before it hears of a call, or when it has done what was asked and nobody has had the answer."""
    done = _trap(world, chance, spring=world.server.kill)
    if world.server.process.poll() is not None:
        world.server.launch()
    return done


def answer_lost(world: World, chance: Random) -> str:
    """A call or its answer is cut off in its middle by a reset."""
    return _trap(world, chance, let_through=chance.choice([0, 0.5]))


def submission_lost(world: World, chance: Random) -> str:
    """A submitter's call or its answer is cut off; when the world settles it is sent again, under the same key."""
    way = chance.choice(list(Way))
    world.front.traps.append(Trap("run", way, let_through=chance.choice([0, 0.5])))
    _ask_for_a_run(world, chance)
    return way.value


def answer_of_a_stranger(world: World, chance: Random) -> str:
    """A proxy answers in the server's place, before or after the server has heard."""
    status = chance.choice([401, 404, 429, 500, 502, 503, 504])
    return f"{status} {_trap(world, chance, answer=bad_gateway(status))}"


def network_silent(world: World, chance: Random) -> str:
    """Nothing arrives, in one direction or in both, and nobody says so."""
    cable = _host(world, chance).cable
    held = chance.choice([[Way.THERE], [Way.BACK], [Way.THERE, Way.BACK]])
    cable.held |= set(held)
    time.sleep(silent_s := chance.choice([0.3, 1, LEASE_S + 1]))
    if chance.random() < 0.5:
        cable.reset_all()
    cable.held.clear()
    return f"{'+'.join(way.value for way in held)} {silent_s} s"


def network_cut(world: World, chance: Random) -> str:
    """Every connection is reset, and no new one is to be had for a while."""
    cable = _host(world, chance).cable
    cable.unplugged = True
    cable.reset_all()
    time.sleep(away_s := chance.choice([0, 0.5, 2]))
    cable.unplugged = False
    return f"{away_s} s"


def network_slow(world: World, chance: Random) -> str:
    """Everything takes its time, until the world is healed."""
    delay_s: float = chance.choice([0.05, 0.3, 1.0])
    _host(world, chance).cable.delay_s = delay_s
    return f"{delay_s} s a piece"


def container_killed(world: World, chance: Random) -> str:
    """Somebody kills a container, or removes it."""
    deed = chance.choice([["kill"], ["rm", "--force"]])
    label = '{{index .Config.Labels "dev.runner-agent.job"}}'
    _ask_for_a_run(world, chance, LONG)
    _soon(lambda: bool(world.engine.docker("ps", "--quiet")), within_s=20)
    for container in world.engine.docker("ps", "--quiet").split()[:1]:
        with contextlib.suppress(subprocess.CalledProcessError):
            job = world.engine.docker("inspect", "--format", label, container).strip()
            world.killed_from_outside.add(job)
            world.engine.docker(*deed, container)
            return deed[0]
    return MISSED


def engine_killed(world: World, chance: Random) -> str:
    """SIGKILL of the engine, and started again."""
    world.engine.kill()
    time.sleep(away_s := chance.choice([0, 1]))
    world.engine.start()
    return f"away for {away_s} s"


def engine_stalled(world: World, chance: Random) -> str:
    """The engine answers nothing for a while."""
    world.engine.signal(signal.SIGSTOP)
    time.sleep(stood_s := chance.choice([0.3, 1, 4]))
    world.engine.signal(signal.SIGCONT)
    return f"{stood_s} s"


def agents_disk_full(world: World, chance: Random) -> str:
    """No byte is left where reports are spooled, for a while or until the world is healed."""
    disk = _host(world, chance).disk
    disk.fill()
    time.sleep(full_s := chance.choice([0.5, 2]))
    if chance.random() < 0.5:
        return "until healed"
    disk.make_room()
    return f"{full_s} s"


def clock_stepped(world: World, chance: Random) -> str:
    """The wall clock of the server or of a host jumps by up to a day."""
    offset_s = chance.choice([-80_000, -3600, -60, 60, 3600, 80_000])
    clock = chance.choice([world.clock, *(host.clock for host in world.hosts)])
    world.set_clock(clock, offset_s)
    return f"{'server' if clock == world.clock else 'host'} {offset_s:+} s"


def database_disk_full(world: World, chance: Random) -> str:
    """No byte is left where SQLite writes."""
    world.disk.fill()
    time.sleep(full_s := chance.choice([0.5, 2]))
    world.disk.make_room()
    return f"{full_s} s"


def database_locked(world: World, chance: Random) -> str:
    """Another process holds SQLite's lock for longer than anybody waits for it, or not quite so long."""
    locked_s = chance.choice([0.5, 2, 6])
    script = f"import sqlite3, time; c = sqlite3.connect({world.server.database.removeprefix('sqlite:///')!r});"
    script += f"c.execute('BEGIN IMMEDIATE'); time.sleep({locked_s})"
    got = subprocess.run(["python3", "-c", script], capture_output=True, check=False).returncode == 0
    return f"{locked_s} s" if got else MISSED


def database_restarted(world: World, chance: Random) -> str:
    """PostgreSQL crashes, or is restarted in order."""
    assert world.postgresql
    world.postgresql.stop(mode := chance.choice(["immediate", "fast"]))
    time.sleep(away_s := chance.choice([0, 2]))
    world.postgresql.start()
    return f"{mode} {away_s} s"


def connections_dropped(world: World, chance: Random) -> str:
    """Every connection to PostgreSQL ends, as in a failover."""
    assert world.postgresql
    with contextlib.suppress(psycopg.OperationalError):
        world.postgresql.drop_connections()
        return "all"
    return MISSED


def database_stalled(world: World, chance: Random) -> str:
    """PostgreSQL stands still, all of its processes."""
    assert world.postgresql
    signal_all(world.postgresql.pid, signal.SIGSTOP)
    time.sleep(stood_s := chance.choice([0.3, 1, 4]))
    signal_all(world.postgresql.pid, signal.SIGCONT)
    return f"{stood_s} s"


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
    submission_lost,
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


def _host(world: World, chance: Random) -> Host:
    return chance.choice(world.hosts)


def _trap(world: World, chance: Random, **what: object) -> str:
    """Set it for any call, either way, with every agent, and give them a moment to walk into it."""
    _ask_for_a_run(world, chance)
    trap = Trap(chance.choice(list(CALLS)), chance.choice(list(Way)), **what)  # type: ignore[arg-type]
    for host in world.hosts:
        host.cable.traps.append(trap)
    sprung = _soon(lambda: any(trap not in host.cable.traps for host in world.hosts), within_s=20)
    for host in world.hosts:
        with contextlib.suppress(ValueError):
            host.cable.traps.remove(trap)
    return f"{trap.call} {trap.way.value}" if sprung else MISSED


def _ask_for_a_run(world: World, chance: Random, kind: int = LARGE) -> None:
    """So that there is something that the fault can happen to."""
    world.submit(chance.randrange(10**6) * KINDS + kind, iterations=1)


def _soon(true: Callable[[], bool], *, within_s: float) -> bool:
    """Whether it comes to be so."""
    deadline = time.monotonic() + within_s
    while not (is_so := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_so


def _tell(agent: Agent, number: signal.Signals) -> None:
    if agent.process.poll() is None:
        agent.process.send_signal(number)
