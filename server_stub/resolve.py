"""Names in a request become rows: the project, its branch and head, its testbed and spec. What is missing is made.

Runs inside the transaction of the run, so that a refused run leaves nothing behind. Errors name the member at fault.
"""

from dataclasses import dataclass
from uuid import UUID

from server_stub import branches, measures
from server_stub.access import rights_in
from server_stub.actors import Actor, Right
from server_stub.api import MAX_VERSIONS_DEFAULT, JobBody, ResultsBody, RunBody, StartPointBody, ThresholdsBody
from server_stub.branches import Decision, HeadMove, KnownBranch, StartPoint
from server_stub.context import ContextFacts, read_context
from server_stub.errors import BadRequestError, ForbiddenError, NotFoundError, UnauthorizedError
from server_stub.names import IdKind, NameId
from server_stub.store import heads, nouns, organizations, projects, specs, testbeds, thresholds
from server_stub.store.heads import Resolved
from server_stub.store.nouns import Fresh, Noun
from server_stub.store.tx import Row, Tx
from server_stub.thresholds import Model

BRANCH_DEFAULT = NameId(IdKind.SLUG, "main")
TESTBED_DEFAULT = NameId(IdKind.SLUG, "localhost")


@dataclass(frozen=True, slots=True)
class Target:
    """The project that a run goes to. `claimed`: whether its organization had a member before this run."""

    project: Row
    claimed: bool


def target(tx: Tx, actor: Actor, body: RunBody) -> Target:
    """The project that the body means: found, or made, or claimed by this run.

    Raises `BadRequestError` where nothing names one, `NotFoundError` for an unknown UUID, `UnauthorizedError` and
    `ForbiddenError` where the actor may not write to it.
    """
    derived = body.job.image.project if body.job and body.project is None else None
    if actor.project_id is not None:
        return Target(_of_key(tx, actor.project_id, body.project, derived), claimed=True)
    facts = read_context(body.context or {})
    wanted = body.project or derived or _from_context(facts)
    project = projects.find(tx, wanted)
    if project is None:
        return _made(tx, actor, wanted, facts, body)
    return Target(project, claimed=_may_write(tx, actor, project))


def _of_key(tx: Tx, project_id: int, named: NameId | None, derived: NameId | None) -> Row:
    """A project key writes to its own project, whatever else is named; naming another one is refused."""
    wanted = named or derived
    other = projects.find(tx, wanted) if wanted else None
    if named is not None and other is None:
        raise NotFoundError(f"project: there is no project {named.value!r}")
    if other is not None and other["id"] != project_id:
        raise UnauthorizedError("project: the project key is of another project")
    return projects.by_id(tx, project_id)


def _from_context(facts: ContextFacts) -> NameId:
    if facts.project_slug is None:
        raise BadRequestError("project: must be given, or be named by the job's image or by the context")
    return NameId(IdKind.SLUG, facts.project_slug)


def _may_write(tx: Tx, actor: Actor, project: Row) -> bool:
    """Whether the project was claimed already. A user who writes to an unclaimed one claims it."""
    if project["claimed_ms"] is None:
        if actor.user is not None:
            organizations.claim(tx, project["organization_id"], actor.user["id"])
            project["claimed_ms"] = tx.now_ms()
        return False
    if actor.anonymous:
        raise UnauthorizedError(f"project {project['slug']}: it is claimed, a run needs a credential")
    if Right.CREATE not in rights_in(tx, actor, project):
        raise ForbiddenError(f"project {project['slug']}: you may not create reports")
    return True


def _made(tx: Tx, actor: Actor, wanted: NameId, facts: ContextFacts, body: RunBody) -> Target:
    if wanted.kind is IdKind.UUID:
        raise NotFoundError(f"project: there is no project {wanted.value}")
    if body.context is None:
        raise BadRequestError(f"context: must be given to name the new project {wanted.value!r}")
    if actor.user is not None:
        organization = organizations.personal(tx, actor.user)
        name = projects.free_name(tx, organization["id"], facts.project_name)
        project = projects.create(tx, organization["id"], name, wanted.value)
        projects.join(tx, project["id"], actor.user["id"])
        return Target(project, claimed=True)
    return Target(_made_for_nobody(tx, wanted.value, facts.project_name), claimed=False)


def _made_for_nobody(tx: Tx, slug: str, name: str) -> Row:
    """An anonymous project shares slug and UUID with its organization, so that a link to claim it can be made."""
    organization = organizations.by_slug(tx, slug) or organizations.create(tx, name, slug=slug)
    if organizations.claimed_ms(tx, organization["id"]) is not None:
        raise UnauthorizedError(f"project {slug}: its organization is claimed, a run needs a credential")
    name = projects.free_name(tx, organization["id"], name)
    uuid = None if projects.uuid_taken(tx, organization["uuid"]) else organization["uuid"]
    return projects.create(tx, organization["id"], name, slug, uuid=uuid)


def branch_of(body: RunBody) -> NameId:
    """The branch that a run names, or its context, or `main`."""
    return body.branch or read_context(body.context or {}).branch or BRANCH_DEFAULT


def hash_of(body: RunBody) -> str | None:
    """The commit that a run names, or its context."""
    return body.hash or read_context(body.context or {}).hash


def head_of(tx: Tx, project_id: int, wanted: NameId, start: StartPointBody | None) -> Row:
    """The branch, with the head that the start point asks for as its `head_id`."""
    resolved = heads.resolve(tx, project_id, start.branch, start.hash) if start and start.branch else None
    known = nouns.find(tx, Noun.BRANCH, project_id, wanted)
    decision = branches.decide(
        None if known is None else KnownBranch(_stored_start(tx, known)),
        None if resolved is None else resolved.start_point,
        reset=start is not None and start.reset,
    )
    branch = nouns.find_or_make(tx, Noun.BRANCH, project_id, [wanted])[wanted]
    return move_head(tx, branch, decision, resolved, start)


def move_head(tx: Tx, branch: Row, decision: Decision, resolved: Resolved | None, start: StartPointBody | None) -> Row:
    """Carry a decision about a branch out. A branch that lost its head gets an empty one."""
    if decision.move is HeadMove.KEEP and branch["head_id"] is not None:
        return branch
    begins = resolved if decision.start_point is not None else None
    if branch["head_id"] is not None:
        heads.retire(tx, branch["head_id"])
    head = heads.create(tx, branch["id"], begins, start.max_versions if start else MAX_VERSIONS_DEFAULT)
    if begins is not None and start is not None and start.clone_thresholds and begins.branch_id != branch["id"]:
        thresholds.clone(tx, branch["project_id"], begins.branch_id, branch["id"])
    return branch | {"head_id": head["id"]}


def _stored_start(tx: Tx, branch: Row) -> StartPoint | None:
    if branch["head_id"] is None:
        return None
    head = heads.shown(tx, branch["head_id"])
    if head["start_number"] is None:
        return None
    return StartPoint(UUID(head["start_branch"]), head["start_hash"])


def testbed_of(tx: Tx, project_id: int, body: RunBody) -> Row:
    """The testbed of a run that brings results along: the one it names, or its context, or `localhost`."""
    wanted = body.testbed or read_context(body.context or {}).testbed or TESTBED_DEFAULT
    return plain_testbed(tx, project_id, wanted, body)


def plain_testbed(tx: Tx, project_id: int, wanted: NameId, body: ResultsBody) -> Row:
    """A testbed that is named, without its spec where `spec_reset` asks for that."""
    testbed = nouns.find_or_make(tx, Noun.TESTBED, project_id, [wanted])[wanted]
    return testbeds.set_spec(tx, testbed, None) if body.spec_reset else testbed


def testbed_and_spec(tx: Tx, project_id: int, named: NameId | None, job: JobBody) -> tuple[Row, Row]:
    """Where a job runs: the testbed, and the class of machine. Without any testbed named, it is named after that.

    Raises `NotFoundError` for an unknown or archived `job.spec`, `BadRequestError` where no spec is left to take.
    """
    if job.spec is None and named is not None:
        testbed = nouns.find(tx, Noun.TESTBED, project_id, named)
        if testbed is not None and testbed["spec_id"] is not None:
            testbed = nouns.find_or_make(tx, Noun.TESTBED, project_id, [named])[named]
            return testbed, specs.by_id(tx, testbed["spec_id"])
    spec = _spec(tx, job.spec)
    wanted = named or NameId(IdKind.NAME, spec["name"])
    testbed = nouns.find_or_make(tx, Noun.TESTBED, project_id, [wanted])[wanted]
    return testbeds.set_spec(tx, testbed, spec["id"]), spec


def _spec(tx: Tx, named: NameId | None) -> Row:
    if named is None:
        fallback = testbeds.fallback_spec(tx)
        if fallback is None:
            raise BadRequestError(
                "job.spec: must be given: neither the testbed has a spec, nor has the server a fallback"
            )
        return fallback
    spec = specs.find(tx, named.value)
    if spec["archived_ms"] is not None:
        raise NotFoundError(f"job.spec: the spec {named.value!r} is archived")
    return spec


def measures_of(tx: Tx, project_id: int, wanted: list[NameId]) -> dict[NameId, Row]:
    """Measures by the keys of results or thresholds. A new one is what is built in by that name, else generic."""
    return nouns.find_or_make(tx, Noun.MEASURE, project_id, wanted, _fresh_measure)


def _fresh_measure(wanted: NameId) -> Fresh:
    new = measures.new_measure(wanted)
    preferred = wanted.kind is IdKind.NAME
    return Fresh(new.name, new.slug, preferred=preferred, columns={"units": new.units})


def put_thresholds(tx: Tx, branch: Row, testbed: Row, body: ThresholdsBody) -> None:
    """Set the thresholds that a run asks for. Raises `BadRequestError` where two keys mean one measure."""
    found = measures_of(tx, branch["project_id"], list(body.models))
    wanted: dict[int, Model] = {}
    named: dict[int, NameId] = {}
    for key, model in body.models.items():
        measure_id = found[key]["id"]
        if measure_id in wanted:
            both = f"{named[measure_id].value!r} and {key.value!r}"
            raise BadRequestError(f"thresholds.models: {both} are the same measure")
        wanted[measure_id], named[measure_id] = model.model, key
    place = {"project_id": branch["project_id"], "branch_id": branch["id"], "testbed_id": testbed["id"]}
    if wanted or body.reset:
        thresholds.put(tx, place, wanted, reset=body.reset)
