"""Takes a runner out for good. One transaction."""

from server_stub.leases import after_removal
from server_stub.store import jobs, runners
from server_stub.store.tx import Row, Tx


def remove(tx: Tx, runner: Row) -> None:
    """Make its keys worthless and refuse its calls. The job that it holds is another's at once, at no cost."""
    runners.archive(tx, runner)
    let_go(tx, runner)


def let_go(tx: Tx, runner: Row) -> None:
    """End the attempt that a removed runner holds: nobody will take its report."""
    if (job := jobs.held_by_runner(tx, runner["id"])) is not None:
        jobs.conclude(tx, job, after_removal(jobs.held(job), tx.now_ms()), "released")
