"""Whether a container was killed for want of memory, where the engine does not say so, or does not say so yet.

The engine hears of an exit and of a lack of memory on two ways. On a busy host the second word comes later; where the
cgroup is gone before the engine's helper has looked at it (version 1), it never comes. The kernel's log has it.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import anyio

from runner_agent.containers.box import Box
from runner_agent.containers.outcome import killed_without_reason
from runner_agent.kernel_log import KERNEL_LOG, KernelLog

LATE_S_MAX, LOOK_S = 2.0, 0.1


async def final(box: Box, kernel_log: Path = KERNEL_LOG) -> dict[str, Any]:
    """The engine's record of a container that has ended; one that was killed is given time to say why."""
    inspected = await box.inspect()
    for _ in range(round(LATE_S_MAX / LOOK_S)):
        if not killed_without_reason(inspected["State"]):
            break
        if kernel_says(box.id, kernel_log):
            inspected["State"]["OOMKilled"] = True
            break
        await anyio.sleep(LOOK_S)
        inspected = await box.inspect()
    return inspected


def kernel_says(container: str, kernel_log: Path) -> bool:
    """Whether the kernel's log has a kill for the memory limit of this container.

    Source: mm/oom_kill.c, `dump_oom_victim`. The container's id stands in its cgroup's name with either driver.
    """
    with closing(KernelLog(kernel_log)) as log:
        return any(
            line.startswith("oom-kill:constraint=CONSTRAINT_MEMCG") and container in line for line in log.lines()
        )
