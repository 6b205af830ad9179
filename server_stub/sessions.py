"""Decides who speaks with a runner's key: the same agent, its successor after a restart, or a clone on another machine.

Pure. A restarted agent (same machine, new instance) takes over at once, so that nothing waits for a lease that nobody
renews. A key that turns up on a second machine while the first is alive is a clone, and so is an instance that comes
back after it was replaced: both are named, and handed nothing.
"""

from dataclasses import dataclass, replace
from uuid import UUID

from runner_protocol.messages import AgentIdentity, HostState

RETIRED_MAX = 16
"""How many replaced instances are remembered for one runner."""


@dataclass(frozen=True, slots=True)
class Session:
    """The process that last spoke with a runner's key. Times are milliseconds."""

    seen_ms: int
    agent: AgentIdentity | None
    state: HostState
    retired: tuple[UUID, ...] = ()

    @property
    def instance(self) -> UUID | None:
        """Of the agent that speaks, where it said."""
        return self.agent.instance if self.agent else None

    def seen(self, now_ms: int) -> "Session":
        """The same, heard of again."""
        return replace(self, seen_ms=max(now_ms, self.seen_ms))


@dataclass(frozen=True, slots=True)
class Rival:
    """A clone: who came, and why it is refused."""

    agent: AgentIdentity
    hostname: str | None
    message: str


def meet(
    known: Session | None, agent: AgentIdentity | None, state: HostState, now_ms: int, alive_ms: int
) -> Session | Rival:
    """Who asks for work. `alive_ms`: how long after its last word the known agent still counts as alive."""
    if known is None or known.agent is None or agent is None:
        return Session(now_ms, agent, state)
    if agent.instance == known.agent.instance:
        return Session(now_ms, agent, state, known.retired)
    if agent.machine_id != known.agent.machine_id and now_ms - known.seen_ms <= alive_ms:
        other = _name(known.state) or f"machine {known.agent.machine_id}"
        message = f"this key is in use on {other}, which is alive; every host needs a runner and a key of its own"
        return Rival(agent, _name(state), message)
    if agent.instance in known.retired:
        message = "another agent has taken this key over since; two agents must not share one key"
        return Rival(agent, _name(state), message)
    return Session(now_ms, agent, state, (known.agent.instance, *known.retired)[:RETIRED_MAX])


def _name(state: HostState) -> str | None:
    return state.host.hostname if state.host else None
