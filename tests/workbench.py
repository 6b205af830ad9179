"""A real engine with a real image on it, and one call to run a shell script in a fresh container of that image."""

import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import leftovers

from runner_agent.bench import Bench, OpenBench
from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.engine import Image, IterationOrder
from runner_protocol.jobs import Limits, Spec
from runner_protocol.results import IterationRecord

SPEC = Spec(uuid=uuid.UUID(int=1), name="small", slug="small", cpu=1, memory=128 << 20, disk=64 << 20)
PULL_S = 60.0


def nothing(*_: object) -> None:
    """Heard by nobody."""


def settings(**changes: Any) -> EngineSettings:
    """An identity that no other test has, and bounds that a test reaches soon."""
    return EngineSettings(
        **{
            "identity": f"test-{leftovers.MARK}-{uuid.uuid4().hex[:8]}",
            "pids_max": 256,
            "scan_bytes_max": 64 << 20,
            "scan_entries_max": 1000,
            **changes,
        }
    )


@dataclass
class Workbench:
    """An engine under an identity of its own, so that tests beside this one are left alone."""

    reference: str
    settings: EngineSettings = field(default_factory=settings)
    job: str = field(default_factory=lambda: uuid.uuid4().hex)
    number: int = 0

    def __post_init__(self) -> None:
        self.engine = DockerEngine(self.settings)
        self._images: dict[str, Image] = {}

    async def pull(self, reference: str | None = None, **changes: Any) -> Image:
        """The image, pulled."""
        wanted = {"auth": None, "spec": SPEC, "within_s": PULL_S, "progress": nothing, **changes}
        return await self.engine.pull(reference or self.reference, **wanted)

    async def order(self, **changes: Any) -> IterationOrder:
        """An order for one container of the image."""
        reference = changes.pop("reference", self.reference)
        if reference not in self._images:
            self._images[reference] = await self.pull(reference)
        self.number += 1
        order = IterationOrder(
            job=self.job,
            attempt=1,
            number=self.number,
            image=self._images[reference],
            spec=SPEC,
            limits=Limits(),
            within_s=60,
        )
        return replace(order, **changes)

    async def run(self, *, bench: Bench | None = None, tail: Any = nothing, **changes: Any) -> IterationRecord:
        """One container, to its end."""
        order = await self.order(**changes)
        return await self.engine.run(order, bench or OpenBench("a test"), tail)

    async def sh(self, script: str, **changes: Any) -> IterationRecord:
        """One container that runs a shell script."""
        return await self.run(entrypoint=("/bin/sh", "-c"), cmd=(script,), **changes)


def spec(**changes: Any) -> Spec:
    """The small spec with changes."""
    return SPEC.model_copy(update=changes)
