"""Any sequence of runs and deletions does to versions, heads and alerts what a model in plain Python says it does.

The model knows lists and sets only: a head has a history of versions, those it took over first; a version has reports.
The server keeps ranges, numbers and states in tables, and decides in SQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_runs import CONTEXT, TIMES, latency

from server_stub import reports as reading
from server_stub.actors import Credential, read_authorization
from server_stub.api import RunBody
from server_stub.names import IdKind, NameId
from server_stub.results import Reading, read_results
from server_stub.settings import Settings
from server_stub.store import projects, reports
from server_stub.store.database import Database
from server_stub.store.tx import Tx
from server_stub.submit import Submission, _submit

LIMIT = 50.0
THRESHOLDS = {"models": {"latency": {"test": "static", "upper_boundary": LIMIT}}}
BRANCHES = ("main", "fix", "next")
HASHES = ("a" * 40, "b" * 40)
NOBODY: Credential = read_authorization(None)
_numbers = count(1)


@dataclass(eq=False)
class Version:
    """One version: its number, its commit, and the reports on it."""

    number: int
    commit: str | None
    reports: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Head:
    """One head: its versions, oldest first, which of them are its own, and where it began."""

    history: list[Version]
    start: tuple[str, Version] | None = None
    own: list[Version] = field(default_factory=list)


@dataclass
class Model:
    """What should be there: the head of each branch, all heads ever, and the state of each alert by its report."""

    branches: dict[str, Head] = field(default_factory=dict)
    heads: list[Head] = field(default_factory=list)
    alerts: dict[str, str] = field(default_factory=dict)

    def run(self, branch: str, commit: str | None, start: dict[str, Any] | None, value: float) -> tuple[Version, bool]:
        """Take a run in; return its version and whether it raises an alert."""
        head = self._head(branch, start)
        checked = any(version.reports for version in head.history)
        known = [version for version in head.own if commit is not None and version.commit == commit]
        if known:
            return known[-1], checked and value > LIMIT
        version = Version(max((one.number for one in head.history), default=-1) + 1, commit)
        head.history.append(version)
        head.own.append(version)
        return version, checked and value > LIMIT

    def _head(self, branch: str, start: dict[str, Any] | None) -> Head:
        head, begin = self.branches.get(branch), self._resolved(start)
        if head is not None and not (start or {}).get("reset") and not _moved(head, begin):
            return head
        if head is not None:
            dead = {report for version in head.own for report in version.reports}
            self.alerts |= dict.fromkeys(dead & self.alerts.keys(), "silenced")
        history = [] if begin is None else self._taken(begin, (start or {}).get("max_versions", 255))
        self.branches[branch] = fresh = Head(history, begin)
        self.heads.append(fresh)
        return fresh

    def _resolved(self, start: dict[str, Any] | None) -> tuple[str, Version] | None:
        base = self.branches.get((start or {}).get("branch", ""))
        if start is None or base is None or not base.history:
            return None
        same = [
            version for version in base.history if version.commit is not None and version.commit == start.get("hash")
        ]
        return start["branch"], (same or base.history)[-1]

    def _taken(self, begin: tuple[str, Version], most: int) -> list[Version]:
        history = self.branches[begin[0]].history
        upto = history[: history.index(begin[1]) + 1]
        return upto[-most:] if most else []

    def delete(self, report: str) -> None:
        """Delete a report, and its version with the last one of it."""
        self.alerts.pop(report, None)
        every = {version for head in self.heads for version in [*head.history, *head.own]}
        [version] = [one for one in every if report in one.reports]
        version.reports.remove(report)
        if not version.reports:
            holding = [head for head in self.heads if version in head.history]
            later = {one for head in holding for one in head.history[head.history.index(version) + 1 :]}
            for one in later:
                one.number -= 1
            for head in self.heads:
                head.history = [one for one in head.history if one is not version]
                head.own = [one for one in head.own if one is not version]
                head.start = None if head.start and head.start[1] is version else head.start


def _moved(head: Head, begin: tuple[str, Version] | None) -> bool:
    if begin is None:
        return False
    if head.start is None or head.start[0] != begin[0]:
        return True
    return begin[1].commit is not None and head.start[1].commit != begin[1].commit


starts = st.fixed_dictionaries(
    {"branch": st.sampled_from(BRANCHES)},
    optional={"hash": st.sampled_from(HASHES), "max_versions": st.integers(0, 3), "reset": st.booleans()},
)
runs = st.tuples(
    st.sampled_from(BRANCHES),
    st.none() | st.sampled_from(HASHES),
    st.none() | st.just({"reset": True}) | starts,
    st.sampled_from((10.0, LIMIT, 90.0)),
)
deletions = st.integers(0, 30)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A database for all examples; each has a project of its own."""
    if request.param == "sqlite":
        database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('model') / 'bench.db'}")
        yield database
        database.close()
        return
    with request.getfixturevalue("postgresql").fresh_database() as url:
        database = Database.open(url)
        yield database
        database.close()


@settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(runs | deletions, min_size=2, max_size=14))
def test_versions_heads_and_alerts_are_those_of_the_model(shared: Database, steps: Sequence[Any]) -> None:
    model, slug, living = Model(), f"model-{next(_numbers)}", list[str]()
    for step in steps:
        if isinstance(step, tuple):
            report = shared.wait(lambda tx, step=step: _taken_in(tx, slug, *step))  # type: ignore[misc]
            version, alerted = model.run(*step)
            version.reports.add(report["uuid"])
            living.append(report["uuid"])
            if alerted:
                model.alerts[report["uuid"]] = "active"
            assert report["branch"]["head"]["version"] == {"number": version.number, "hash": version.commit}
        elif living:
            uuid = living.pop(step % len(living))
            shared.wait(lambda tx, uuid=uuid: reports.delete(tx, _found(tx, uuid)))  # type: ignore[misc]
            model.delete(uuid)
    assert shared.wait(lambda tx: _state(tx, slug)) == _expected(model, living)


def _taken_in(tx: Tx, slug: str, branch: str, commit: str | None, start: Any, value: float) -> Any:
    members = {"project": slug, "branch": branch, "hash": commit, "start_point": start, "thresholds": THRESHOLDS}
    body = RunBody.model_validate({**members, **TIMES, "context": CONTEXT, "results": [latency(value)]})
    submission = Submission(NOBODY, "127.0.0.1", body, read_results(body.results, Reading()))
    return reading.report_view(tx, _submit(tx, Settings(), submission))


def _found(tx: Tx, uuid: str) -> Any:
    row = reports.find(tx, uuid)
    assert row is not None
    return row


def _state(tx: Tx, slug: str) -> Any:
    """Number, and state of its alert, of each report; and how many reports each head has, the oldest head first."""
    project = projects.find(tx, NameId(IdKind.SLUG, slug))
    if project is None:
        return {}, {}, []
    rows = tx.all(
        "SELECT r.uuid, v.number, a.status, r.head_id FROM report r JOIN version v ON v.id = r.version_id"
        " LEFT JOIN alert a ON a.report_id = r.id WHERE r.project_id = :project",
        project=project["id"],
    )
    heads = tx.all(
        "SELECT h.id FROM head h JOIN branch b ON b.id = h.branch_id WHERE b.project_id = :project ORDER BY h.id",
        project=project["id"],
    )
    return (
        {row["uuid"]: row["number"] for row in rows},
        {row["uuid"]: row["status"] for row in rows if row["status"]},
        [sum(row["head_id"] == head["id"] for row in rows) for head in heads],
    )


def _expected(model: Model, living: list[str]) -> Any:
    every = {version for head in model.heads for version in head.own}
    numbers = {report: version.number for version in every for report in version.reports}
    assert sorted(numbers) == sorted(living)
    return numbers, model.alerts, [sum(len(version.reports) for version in head.own) for head in model.heads]
