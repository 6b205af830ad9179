"""What a large fleet costs one server process, and how many jobs a second it hands out.

    ./dev bench fleet [--agents 10000] [--jobs 2000] [--rounds 3]

Ten thousand simulated agents, all started at once, wait for work at one process on SQLite: memory a poll, CPU while
idle, time from a submission to its hand-over, and what a restart of the server brings down on it until all wait again.
Then a full queue and 64 agents, on SQLite and on PostgreSQL with fsync: jobs a second from claim to acknowledged
report, and in turn with it the same number of jobs that do nothing through procrastinate on the same PostgreSQL.
Server, database and agents share this machine's CPUs.
"""

import argparse
import asyncio
import resource
import statistics
import tempfile
import time

import httpx
from fleet_throughput import bare, rounds, throughput
from fleet_world import Fleet, ServerProcess, hand_over, join, serving, warm

IDLE_S = 60
"""Once in this time it is written down who waits."""
HAND_OVERS = 300
DESCRIPTORS = 65_536


async def parked(server: ServerProcess, count: int) -> float:
    """Wait until that many polls wait; how long that took."""
    began = time.perf_counter()
    while await asyncio.to_thread(server.parked) < count:  # noqa: ASYNC110  It is another process.
        await asyncio.sleep(0.5)
    return time.perf_counter() - began


async def idle(url: str, count: int) -> None:
    """Print what waiting costs, how fast a job is handed over, and how long a restart takes."""
    first, *keys = join(url, 1 + count)
    with serving(url) as server:
        await warm(server, first)
        before, cpu_s = server.rss_mib, server.cpu_s
        fleet = Fleet(server, keys)
        took_s = await parked(server, count)
        cpu_s = server.cpu_s - cpu_s
        await asyncio.sleep(5)
        grown = server.rss_mib - before
        print(f"{count} agents join                 {took_s:8.1f} s, {1e6 * cpu_s / count:.0f} µs CPU each")
        print(f"memory                            {grown:+8.1f} MiB, {grown * 1024 / count:.1f} KiB a poll")
        await rest(server)
        await hand_overs(server, fleet)
        await restart(server, fleet, count)
        await fleet.disband()


async def restart(server: ServerProcess, fleet: Fleet, count: int) -> None:
    """Print how long a fleet takes to come back to a server that was away for a moment, and how hard it comes."""
    fleet.traffic.forget()
    began = time.perf_counter()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    away_s = time.perf_counter() - began
    await parked(server, count)
    print(f"all back after a restart          {time.perf_counter() - began:8.1f} s, {away_s:.1f} s of them without it")
    traffic = fleet.traffic
    print(
        f"requests on the way               {len(traffic.asked):8d}, {traffic.peak()} in the worst second,"
        f" {traffic.answers[503]} told to come later, {traffic.answers[0]} met no server"
    )


async def rest(server: ServerProcess) -> None:
    """Print the CPU time that the idle process takes."""
    cpu_s = server.cpu_s
    await asyncio.sleep(IDLE_S)
    print(f"CPU while idle                    {(server.cpu_s - cpu_s) / IDLE_S:8.2%}")


async def hand_overs(server: ServerProcess, fleet: Fleet) -> None:
    """Print how long jobs take from their submission to an agent, one after the other."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as submitter:
        times = [await hand_over(submitter, fleet) for _ in range(HAND_OVERS)]
    for name, column in zip(
        ("submission to hand-over", "of that, after the 201"), zip(*times, strict=True), strict=True
    ):
        cuts = statistics.quantiles([1000 * seconds for seconds in column], n=100)
        print(f"{name:<33} {cuts[49]:8.2f} ms median, {cuts[98]:.2f} ms p99")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3, help="of both on PostgreSQL, in turn")
    parser.add_argument("--only", choices=("idle", "throughput"))
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    if options.only != "throughput":
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(idle(f"sqlite:///{folder}/bench.db", options.agents))
    if options.only != "idle":
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(throughput("SQLite, synchronous=FULL", f"sqlite:///{folder}/bench.db", options.jobs))
            asyncio.run(bare("SQLite", f"sqlite:///{folder}/bare.db"))
        print(f"{'ratio, median of the rounds':<33} {statistics.median(rounds(options.rounds, options.jobs)):8.2f}")


if __name__ == "__main__":
    main()
