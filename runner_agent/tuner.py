"""Carries out rows of the tuning table: journal, write, read back, record. Decides nothing; `undo.py` takes it back.

A setting that this host has not, or that the kernel refuses, is recorded as such and nothing else happens.
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from runner_agent.cpu_list import cpu_list, parse_cpu_list
from runner_agent.facts import CpuPlan
from runner_agent.host import HostFiles
from runner_agent.journal import Change, Journal
from runner_agent.tuning import Means, Setting, wanted
from runner_agent.undo import bare, same, service_state, start_time, systemctl, threads, undo
from runner_protocol.results import SettingRecord

# A report names at most so many different values of one setting.
VALUES_MAX = 4


class Tuner:
    """What has been changed for one hold, in order."""

    def __init__(self, files: HostFiles, journal: Journal) -> None:
        self._files = files
        self._journal = journal
        self._changes: list[Change] = []
        self._held: list[int] = []

    def apply(self, setting: Setting, plan: CpuPlan) -> SettingRecord:
        """Change one setting as far as it can be."""
        value = wanted(setting, plan)
        match setting.means:
            case Means.FILE:
                return self._write_files(setting, value)
            case Means.SERVICE:
                return self._stop(setting)
            case Means.LATENCY:
                return self._hold_latency(setting)
            case Means.THREADS:
                return self._move_threads(setting, plan, value)

    def remember(self, changes: Sequence[Change]) -> list[int]:
        """Journal changes that somebody else is about to make; they are undone with the rest."""
        numbers = self._journal.remember(changes)
        self._changes += changes
        return numbers

    def undo(self) -> list[str]:
        """Put everything back; tells what was done."""
        for descriptor in self._held:
            os.close(descriptor)
        self._held = []
        changes, self._changes = self._changes, []
        lines = undo(self._files, changes)
        self._journal.forget()
        return lines

    def _write_files(self, setting: Setting, value: str) -> SettingRecord:
        found = [(path, before) for path in self._files.list(setting.target) if (before := self._files.read(path))]
        # Already so: nothing to write, and nothing to put back.
        todo = [Change("file", path, before, value) for path, before in found if not same(before, value)]
        notes = self._carry_out(todo, self._write) if todo else []
        return _record(setting, value, found, [self._files.read(path) for path, _ in found], notes)

    def _write(self, change: Change) -> str | None:
        return self._files.write(change.target, change.wanted)

    def _carry_out(self, todo: Sequence[Change], act: Callable[[Change], str | None]) -> list[str]:
        """Journal all, then change one after the other; what was read back goes to the journal. Tells refusals."""
        numbers = self.remember(todo)
        start = len(self._changes) - len(todo)
        notes = []
        for place, (number, change) in enumerate(zip(numbers, todo, strict=True), start):
            if why := act(change):
                notes.append(why)
            achieved = self._look(change)
            self._journal.note(number, achieved)
            self._changes[place] = replace(change, achieved=achieved)
        return notes

    def _look(self, change: Change) -> str:
        """The value as the host tells it now."""
        if change.kind == "affinity":
            with suppress(OSError):
                return cpu_list(os.sched_getaffinity(int(change.target.partition(":")[0])))
            return change.wanted
        if change.kind == "service":
            return service_state(self._files, change.target) or change.wanted
        return self._files.read(change.target) or ""

    def _stop(self, setting: Setting) -> SettingRecord:
        state = service_state(self._files, setting.target)
        if state not in {"active", "activating"}:
            note = None if state else "there is no systemd"
            return _plain(setting, "inactive", before=state, achieved=state, applied=state == "inactive", note=note)
        change = Change("service", setting.target, "active", "inactive")
        notes = self._carry_out([change], lambda each: systemctl("stop", each.target))
        state = service_state(self._files, setting.target)
        return _plain(
            setting, "inactive", before="active", achieved=state, applied=not notes, note=notes[0] if notes else None
        )

    def _hold_latency(self, setting: Setting) -> SettingRecord:
        """Of the shallowest real idle state: 0 would keep siblings spinning, which takes heat and half of a core."""
        us = self._files.number("/sys/devices/system/cpu/cpu0/cpuidle/state1/latency")
        if us is None:
            return _plain(setting, "", note="this host has no idle states")
        try:
            descriptor = os.open(self._files.at(setting.target), os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            return _plain(setting, f"{us} µs", note=error.strerror)
        self._held.append(descriptor)
        # Source: Documentation/power/pm_qos_interface.rst, a 32-bit number in the machine's order.
        os.write(descriptor, struct.pack("=i", us))
        return _plain(setting, f"{us} µs", achieved=f"{us} µs", applied=True)

    def _move_threads(self, setting: Setting, plan: CpuPlan, value: str) -> SettingRecord:
        if not self._files.live:
            return _plain(setting, value, note="not the living host")
        todo = list(self._strangers(setting.target, plan.housekeeping))
        if todo:
            everywhere = cpu_list(plan.held | plan.housekeeping)
            self.remember([Change("affinity_of", setting.target, everywhere, value)])
        notes = self._carry_out(todo, _move) if todo else []
        note = f"{len(notes)} of {len(todo)} threads stayed: {notes[0]}" if notes else None
        return _plain(setting, value, achieved=value, applied=len(notes) < max(1, len(todo)), note=note)

    def _strangers(self, which: str, housekeeping: frozenset[int]) -> Iterator[Change]:
        """Threads of a kind that may run outside of housekeeping."""
        for thread in threads(self._files, set(which.split(","))):
            with suppress(OSError):
                cpus = os.sched_getaffinity(thread)
                if not cpus <= housekeeping:
                    before, after = cpu_list(cpus), cpu_list(cpus & housekeeping or housekeeping)
                    yield Change("affinity", f"{thread}:{start_time(self._files, thread)}", before, after)


def _move(change: Change) -> str | None:
    try:
        os.sched_setaffinity(int(change.target.partition(":")[0]), parse_cpu_list(change.wanted))
    except ProcessLookupError:
        return None  # It ended by itself.
    except OSError as error:
        return error.strerror
    return None


def _record(
    setting: Setting, value: str, found: Sequence[tuple[str, str]], after: Sequence[str | None], notes: Sequence[str]
) -> SettingRecord:
    """One line for all files of a row."""
    if not found:
        return _plain(setting, value, note="this host has none")
    missed = [now for now in after if now is None or not same(now, value)]
    note = f"{len(missed)} of {len(found)} stayed: {notes[0] if notes else 'the kernel kept its value'}"
    return SettingRecord(
        name=setting.name,
        path=found[0][0] if len(found) == 1 else setting.target,
        wanted=value,
        before=_values(before for _, before in found),
        achieved=_values(now for now in after if now is not None),
        applied=len(missed) < len(found),
        note=note if missed else None,
    )


def _values(texts: Iterator[str]) -> str:
    different = sorted({bare(text) for text in texts})
    more = "" if len(different) <= VALUES_MAX else f" and {len(different) - VALUES_MAX} others"
    return " | ".join(different[:VALUES_MAX]) + more


def _plain(
    setting: Setting,
    value: str,
    *,
    before: str | None = None,
    achieved: str | None = None,
    applied: bool = False,
    note: str | None = None,
) -> SettingRecord:
    return SettingRecord(
        name=setting.name,
        path=setting.target,
        wanted=value,
        before=before,
        achieved=achieved,
        applied=applied,
        note=note,
    )
