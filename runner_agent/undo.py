"""Puts the host back, change by change, the last one first: at a job's end, at start-up, and from `restore`.

A value is put back only if it still is what we made it. If somebody else has changed it since, it is theirs: left alone
and told. Nothing here stops at a failure; each line of the answer says what became of one change.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from runner_agent.cpu_list import cpu_list, parse_cpu_list
from runner_agent.host import HostFiles
from runner_agent.journal import Change, left_behind

JOURNAL = "tuning.journal"
CGROUP = "/sys/fs/cgroup"
SYSTEMCTL_S_MAX = 60.0
KILL_S_MAX = 5.0


def boot_id(files: HostFiles) -> str:
    """Names this boot."""
    return files.read("/proc/sys/kernel/random/boot_id") or "unknown"


def restore(state_dir: Path, root: Path = Path("/")) -> list[str]:
    """Put back what a killed predecessor left. Tells what was done, one line each; nothing to do: no line."""
    files = HostFiles(root)
    path = state_dir / JOURNAL
    lines = undo(files, left_behind(path, boot_id(files)))
    path.unlink(missing_ok=True)
    return lines


def undo(files: HostFiles, changes: Sequence[Change]) -> list[str]:
    """Undo in reverse order."""
    lines = [UNDO[change.kind](files, change) for change in reversed(changes) if change.kind in UNDO]
    # Once for all: systemd reads every unit of the host. Also where one who was killed had removed ours already.
    if files.live and any(change.kind == "unit" for change in changes):
        systemctl("daemon-reload")
    return [line for line in lines if line is not None]


def _file(files: HostFiles, change: Change) -> str | None:
    now = files.read(change.target)
    if now is None or same(now, change.before):
        return None
    if not any(same(now, ours) for ours in (change.wanted, change.achieved) if ours is not None):
        return f"{change.target}: left at {now!r}; somebody else has changed it since"
    # An empty value is written as a newline: the kernel takes a write of nothing for no write.
    why = files.write(change.target, bare(change.before) or "\n")
    return f"{change.target}: {change.before!r} could not be put back: {why}" if why else _restored(change)


def _service(files: HostFiles, change: Change) -> str | None:
    if service_state(files, change.target) in {None, change.before}:
        return None
    why = systemctl("start" if change.before == "active" else "stop", change.target)
    return f"{change.target}: could not be put back: {why}" if why else _restored(change)


def _affinity(files: HostFiles, change: Change) -> str | None:
    thread = parse_thread(change.target)
    if start_time(files, thread[0]) != thread[1]:  # Gone, or its number belongs to another by now.
        return None
    with suppress(OSError, ValueError):
        if cpu_list(os.sched_getaffinity(thread[0])) == (change.achieved or change.wanted):
            os.sched_setaffinity(thread[0], parse_cpu_list(change.before))
            return _restored(change)
    return None


def _affinity_of(files: HostFiles, change: Change) -> str | None:
    """Threads that came after the others were moved, and inherited where to run: those that still say what we said."""
    wanted, before = parse_cpu_list(change.wanted), parse_cpu_list(change.before)
    names = set(change.target.split(","))
    moved = 0
    for thread in threads(files, names):
        with suppress(OSError):
            if os.sched_getaffinity(thread) == wanted:
                os.sched_setaffinity(thread, before)
                moved += 1
    return f"{moved} later threads of {change.target}: put back to {change.before!r}" if moved else None


def _group(files: HostFiles, change: Change) -> str | None:
    """Our cgroups of that name, in every hierarchy. Whatever still runs in there is a leftover benchmark: killed."""
    removed, stuck = _clear(files, change.target)
    if stuck:
        return f"{', '.join(stuck)}: still in use"
    return f"cgroup {change.target}: removed" if removed else None


def _clear(files: HostFiles, name: str) -> tuple[list[str], list[str]]:
    """Kill and remove; what is gone, and what stays because somebody does."""
    tops = [files.at(path) for path in (*files.list(f"{CGROUP}/{name}"), *_below(files, name))]
    for top in tops:
        clear_group(top)
    return [str(top) for top in tops if not top.exists()], [str(top) for top in tops if top.exists()]


def _below(files: HostFiles, name: str) -> list[str]:
    return files.list(f"{CGROUP}/*/{name}")


def _unit(files: HostFiles, change: Change) -> str | None:
    """A unit file of ours under /run, with the slice that it makes. `undo` tells systemd."""
    path = files.at(change.target)
    if not path.exists():
        return None
    stuck = _stop(files, path.name) if path.suffix == ".slice" else []
    path.unlink(missing_ok=True)
    with suppress(OSError):  # The directory of a drop-in; that of units is not empty and stays.
        path.parent.rmdir()
    return f"{', '.join(stuck)}: still in use" if stuck else f"{change.target}: removed"


def _stop(files: HostFiles, name: str) -> list[str]:
    """A slice. systemd lets a cgroup be in which somebody lives, and the partition with it: so do a killed agent's
    canaries, for a moment."""
    if files.live:
        systemctl("stop", name)
    return _clear(files, name)[1]


UNDO: dict[str, Callable[[HostFiles, Change], str | None]] = {
    "file": _file,
    "service": _service,
    "affinity": _affinity,
    "affinity_of": _affinity_of,
    "group": _group,
    "unit": _unit,
}


def _restored(change: Change) -> str:
    return f"{change.target}: {change.achieved or change.wanted!r} put back to {bare(change.before)!r}"


def bare(value: str) -> str:
    """A value as it is written: of a choice such as `always [madvise] never`, the one in brackets."""
    chosen = re.search(r"\[([^\]]+)\]", value)
    return chosen[1] if chosen else value.strip()


def same(one: str, other: str) -> bool:
    """Whether two values mean the same to the kernel: `f` and `0000000f`, `[never]` and `never`."""
    one, other = bare(one), bare(other)
    return one == other or (_digits(one) is not None and _digits(one) == _digits(other))


def _digits(value: str) -> str | None:
    """A mask without its leading zeros. A list such as `0,8` is none: its words are shorter."""
    masked = re.fullmatch(r"[0-9a-f]{1,8}(,[0-9a-f]{8})*", value)
    return value.replace(",", "").lstrip("0") or "0" if masked else None


def clear_group(top: Path) -> None:
    """Kill what runs in a cgroup and remove it with all beneath it. One that stays in use stays."""
    groups = [Path(folder) for folder, _, _ in os.walk(top)]  # It passes over groups that end meanwhile.
    deadline = time.monotonic() + KILL_S_MAX
    while (pids := _members(groups)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    for group in sorted(groups, reverse=True):
        with suppress(OSError):
            group.rmdir()


def _members(groups: Sequence[Path]) -> list[int]:
    pids: list[int] = []
    for group in groups:
        with suppress(OSError):
            pids += map(int, (group / "cgroup.procs").read_text().split())
    return pids


def parse_thread(target: str) -> tuple[int, int]:
    """`pid:start`."""
    pid, _, start = target.partition(":")
    return int(pid), int(start)


def start_time(files: HostFiles, pid: int) -> int | None:
    """When a thread started, in clock ticks since boot: number and start name it. Source: proc(5), field 22."""
    text = files.read(f"/proc/{pid}/stat")
    return None if text is None else int(text.rpartition(")")[2].split()[19])


PF_NO_SETAFFINITY = 0x04000000
"""include/linux/sched.h: the kernel binds this thread itself."""
KTHREADD = 2


def threads(files: HostFiles, names: Collection[str]) -> Iterator[int]:
    """Every thread of this kind: `kernel` (those that can be moved), `*` (all others), or programs by name."""
    for path in files.list("/proc/[0-9]*/task/[0-9]*"):
        stat = files.read(f"{path}/stat")
        if stat is not None and _meant(stat, names):
            yield int(path.rpartition("/")[2])


def _meant(stat: str, names: Collection[str]) -> bool:
    head, _, tail = stat.rpartition(")")
    number, _, name = head.partition(" (")
    fields = tail.split()
    parent, flags = int(fields[1]), int(fields[6])
    if parent in {0, KTHREADD} and int(number) != 1:
        return "kernel" in names and not flags & PF_NO_SETAFFINITY
    # The kernel keeps 15 characters of a name (TASK_COMM_LEN).
    return "*" in names or name in {each[:15] for each in names}


def service_state(files: HostFiles, unit: str) -> str | None:
    """`active`, `inactive`, …; none where there is no systemd, or where the tree of files is not the living host's."""
    if not files.live or shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        return None
    return _run("systemctl", "is-active", unit).stdout.strip() or None


def systemctl(*words: str) -> str | None:
    """Run systemctl; tells why it failed."""
    try:
        done = _run("systemctl", *words)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else None


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_S_MAX, check=False)  # noqa: S603  Our own words.
