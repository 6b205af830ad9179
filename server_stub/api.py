"""The bodies that bring benchmark results in: `POST /v0/run` and `POST /v0/projects/{project}/reports`.

Pure validation; what a body means for a project is decided elsewhere. The members are those of the public API. Two are
ours, both in `job`: `baseline`, a second image for a paired comparison, and `registry_auth`, credentials for the pull.
"""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, WithJsonSchema, field_validator, model_validator

from server_stub.bodies import I32_MAX, Body, Count, Flag, Number, PositiveCount
from server_stub.images import ImageReference, parse_image
from server_stub.metrics import Adapter, Average, Fold
from server_stub.names import BranchId, DateTime, GitHash, ResourceId, ResourceNameId, Text, Uuid, parse_text
from server_stub.thresholds import Model, Test, violations

ARGUMENTS_MAX = 64
PAIRS_MAX = 255
MAX_VERSIONS_DEFAULT = 255

Image = Annotated[
    ImageReference,
    BeforeValidator(lambda value: value if isinstance(value, ImageReference) else parse_image(parse_text(value))),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "description": "An OCI image by tag or digest.",
            "examples": ["registry.example/bench:v1"],
        }
    ),
]
Secret = Annotated[
    SecretStr, BeforeValidator(lambda value: value if isinstance(value, SecretStr) else parse_text(value))
]

_NORMALISED = {
    **dict.fromkeys(
        (
            *(Adapter.RUST, Adapter.CPP, Adapter.GO, Adapter.JAVA, Adapter.C_SHARP),
            *(Adapter.JS, Adapter.PYTHON, Adapter.RUBY, Adapter.SHELL, Adapter.DART),
        ),
        Adapter.MAGIC,
    ),
    Adapter.RUST_IAI_CALLGRIND: Adapter.RUST_GUNGRAUN,
}


class LimitsBody(Body):
    """What a model says beside its test: the sample it looks at, and its boundaries."""

    min_sample_size: PositiveCount | None = Field(default=None, description="Fewer metrics than this: no check.")
    max_sample_size: PositiveCount | None = Field(default=None, description="Only the newest so many metrics count.")
    window: PositiveCount | None = Field(default=None, description="Only reports of the last so many seconds count.")
    lower_boundary: Number | None = Field(default=None, description="A value below its limit raises an alert.")
    upper_boundary: Number | None = Field(default=None, description="A value above its limit raises an alert.")

    def under(self, test: Test) -> Model:
        """Return the model that these limits make with `test`; raise `ValueError` where it could never work."""
        model = Model(
            test=test,
            min_sample_size=self.min_sample_size,
            max_sample_size=self.max_sample_size,
            window=self.window,
            lower_boundary=self.lower_boundary,
            upper_boundary=self.upper_boundary,
        )
        if broken := violations(model):
            raise ValueError("; ".join(broken))
        return model


class ModelBody(LimitsBody):
    """A threshold's model."""

    test: Test = Field(description="How history becomes a limit; `z` and `t` are short for z_score and t_test.")

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        self.under(self.test)
        return self

    @property
    def model(self) -> Model:
        """The same as a record of the head."""
        return self.under(self.test)


class ThresholdsBody(Body):
    """Thresholds to set on this branch and testbed."""

    models: dict[ResourceNameId, ModelBody] = Field(
        default_factory=dict, description="By measure: UUID, slug or name. Models that can never work are refused."
    )
    reset: Flag = Field(default=False, description="Remove the model of every threshold that is not listed.")


class StartPointBody(Body):
    """Where a branch begins: at another branch, optionally at one of its hashes."""

    branch: BranchId | None = Field(default=None, description="Unknown or without reports: there is no start point.")
    hash: GitHash | None = Field(default=None, description="Newest version with this hash; none: the newest of all.")
    max_versions: Count = Field(default=MAX_VERSIONS_DEFAULT, description="How many versions of history to take over.")
    clone_thresholds: Flag = Field(default=False, description="Take over the thresholds, too.")
    reset: Flag = Field(default=False, description="Begin anew, even where the branch has this start point.")


class SettingsBody(Body):
    """How the result strings are read."""

    adapter: Adapter = Field(default=Adapter.MAGIC, description="The output's format; a language is read as `magic`.")
    average: Average | None = Field(default=None, description="Which middle to read where a harness prints several.")
    fold: Fold | None = Field(default=None, description="How several result strings become one.")

    @field_validator("adapter")
    @classmethod
    def _normalise(cls, adapter: Adapter) -> Adapter:
        return _NORMALISED.get(adapter, adapter)


class RegistryAuthBody(Body):
    """Short-lived credentials for the pull. Handed to the runner, never shown."""

    username: Text | None = None
    password: Secret | None = None
    token: Secret | None = Field(default=None, description="A bearer token, used as it stands.")


class JobBody(Body):
    """What to run on a runner instead of bringing results along."""

    image: Image = Field(description="The image to run, from any registry.")
    baseline: Image | None = Field(default=None, description="A second image: iterations alternate between the two.")
    registry_auth: RegistryAuthBody | None = None
    spec: ResourceId | None = Field(
        default=None, description="The class of machine; else the testbed's, else the fallback."
    )
    entrypoint: list[Text] | None = Field(default=None, max_length=ARGUMENTS_MAX, description="Instead of the image's.")
    cmd: list[Text] | None = Field(default=None, max_length=ARGUMENTS_MAX, description="Instead of the image's.")
    env: dict[Text, Text] | None = Field(
        default=None, max_length=PAIRS_MAX, description="Environment of the container."
    )
    timeout: Annotated[int, Field(strict=True, ge=1, le=I32_MAX)] | None = Field(
        default=None, description="Seconds that one iteration may take."
    )
    file_paths: list[Text] | None = Field(default=None, max_length=PAIRS_MAX, description="Files to read results from.")
    build_time: Flag = Field(default=False, description="Measure the command's wall time as `build-time`.")
    file_size: Flag = Field(default=False, description="Measure the files' sizes as `file-size`, not their contents.")
    iter: Count | None = Field(default=None, description="How many times to run; absent: once. 0 runs nothing.")
    allow_failure: Flag = Field(default=False, description="Go on after an iteration that failed.")
    backdate: DateTime | None = Field(default=None, description="Start time of the report, once it is processed.")

    @field_validator("env")
    @classmethod
    def _names_fit_an_environment(cls, env: dict[str, str] | None) -> dict[str, str] | None:
        for name in env or ():
            if not name or "=" in name:
                raise ValueError("the name of a variable must not be empty nor hold `=`")
        return env


class ResultsBody(Body):
    """What every report has, whichever way it comes in."""

    hash: GitHash | None = Field(default=None, description="Commit that was measured; the same hash, the same version.")
    start_point: StartPointBody | None = None
    spec_reset: Flag = Field(default=False, description="Remove the testbed's spec. Without effect on a job.")
    thresholds: ThresholdsBody | None = None
    start_time: DateTime
    end_time: DateTime
    results: list[Annotated[str, Field(strict=True)]] = Field(
        description="Each string is the output of one iteration.", examples=[["{}"]]
    )
    settings: SettingsBody = Field(default_factory=SettingsBody)


class RunBody(ResultsBody):
    """`POST /v0/run`: results of benchmarks, or a job that will produce them."""

    project: ResourceId | None = Field(
        default=None, description="Absent: named by the job's image, else by the context."
    )
    branch: BranchId | None = Field(default=None, description="Absent: the context's, else `main`.")
    testbed: ResourceNameId | None = Field(default=None, description="Absent: the context's, else `localhost`.")
    context: dict[Text, Text] | None = Field(
        default=None,
        description="What the client knows about its repository and machine.",
        examples=[{"bencher.dev/v0/repo/name": "my-project"}],
    )
    idempotency_key: Uuid | None = Field(
        default=None, description="A second run with this key gets the first's report."
    )
    job: JobBody | None = None


class ReportBody(ResultsBody):
    """`POST /v0/projects/{project}/reports`: results for a branch and testbed that are named."""

    branch: BranchId
    testbed: ResourceNameId
