"""What `tune --dry-run` and `status` print: the plan for this host, and what a journal says is changed. Only reads."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from runner_agent.cores import plan_cpus
from runner_agent.cpu_list import cpu_list, parse_cpu_list
from runner_agent.facts import CpuPlan, Refusal
from runner_agent.host import HostFiles, read_topology
from runner_agent.isolation import IsolationSettings
from runner_agent.journal import Change, left_behind
from runner_agent.tuning import Means, Setting, selected, wanted
from runner_agent.undo import JOURNAL, bare, boot_id, same, service_state


def plan_lines(settings: IsolationSettings, cpus: int, root: Path = Path("/")) -> Iterator[str]:
    """What a job of `cpus` CPUs would change, setting by setting, with the reason. Nothing is written."""
    files = HostFiles(root)
    plan = plan_cpus(read_topology(files), cpus, parse_cpu_list(settings.benchmark_cpus))
    if isinstance(plan, Refusal):
        yield f"refused: {plan.reason}"
        return
    yield f"benchmark     {cpu_list(plan.benchmark)}"
    yield f"idle siblings {cpu_list(plan.idle) or '-'}"
    yield f"housekeeping  {cpu_list(plan.housekeeping)}"
    if plan.note:
        yield f"note          {plan.note}"
    yield f"isolation     {_isolation(files, settings, plan)}"
    partitioned = _has_partitions(files) and settings.partition
    for setting in selected(settings.switches, partitioned=partitioned) if settings.tune else ():
        yield from _setting_lines(files, setting, plan)


def _isolation(files: HostFiles, settings: IsolationSettings, plan: CpuPlan) -> str:
    if not plan.exclusive:
        return "none: nobody else would have a CPU"
    if not _has_partitions(files):
        return "cpuset: this host has no cgroup version 2 with the cpuset controller"
    if not settings.partition:
        return "cpuset: partitions are switched off"
    return "partition isolated, else root" if len(plan.benchmark) == 1 else "partition root"


def _has_partitions(files: HostFiles) -> bool:
    return "cpuset" in (files.read("/sys/fs/cgroup/cgroup.controllers") or "").split()


def _setting_lines(files: HostFiles, setting: Setting, plan: CpuPlan) -> Iterator[str]:
    value = wanted(setting, plan)
    if setting.means is Means.FILE:
        found = [(path, bare(now)) for path in files.list(setting.target) if (now := files.read(path)) is not None]
        todo = [(path, now) for path, now in found if not same(now, value)]
        if todo:
            more = f" and {len(todo) - 1} more" if len(todo) > 1 else ""
            yield f"{setting.name:18} {todo[0][0]}: {todo[0][1]} → {value}{more}  ({setting.why})"
    elif setting.means is Means.SERVICE:
        if service_state(files, setting.target) == "active":
            yield f"{setting.name:18} stop {setting.target}  ({setting.why})"
    elif setting.means is Means.THREADS or files.at(setting.target).exists():
        yield f"{setting.name:18} {setting.target} → {value or 'held open'}  ({setting.why})"


AS_LEFT = "the host is as its owner left it"


def status_lines(state_dir: Path, root: Path = Path("/")) -> Iterator[str]:
    """What is changed just now, and by whom it was changed since; of the same change to many, one line."""
    files = HostFiles(root)
    counts = Counter(_status(files, change) for change in left_behind(state_dir / JOURNAL, boot_id(files)))
    for (kind, target, what), count in counts.items():
        yield f"{kind:12} {target}: {what}" + (f", {count} times" if count > 1 else "")
    if not counts:
        yield AS_LEFT


def _status(files: HostFiles, change: Change) -> tuple[str, str, str]:
    """Its kind, what it was done to, and how that stands."""
    if change.kind == "affinity":
        return change.kind, "threads", f"{change.before} → {change.achieved or change.wanted}"
    if change.kind != "file":
        return change.kind, change.target, f"{change.before or '-'} → {change.achieved or change.wanted}"
    now = files.read(change.target) or ""
    ours = any(same(now, each) for each in (change.wanted, change.achieved or change.wanted))
    word = "as before" if same(now, change.before) else "ours" if ours else "changed by somebody else"
    # Interrupts and policies have numbers.
    target = re.sub(r"(?<=[a-z/])\d+(?=/)", "*", change.target)
    return change.kind, target, f"{bare(change.before)} → {bare(now)} ({word})"
