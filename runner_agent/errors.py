"""What can go wrong, sorted by who acts next.

    AgentError
    ├── JobFault      the job is at fault: report it, claim the next
    ├── HostFault     this machine is at fault: put back, hand the job back, stop claiming until it is mended
    ├── ServerFault   the server or the way to it is at fault: keep the result, try later
    ├── IdentityFault the key is refused: say so and exit; asking again would be hammering
    ├── SettingFault  a setting is wrong: say which one and where it came from, and exit
    └── ServiceFault  systemd does not do as `install` or `uninstall` asks: say where it tells why, and exit

`execute.py` turns the first two into a report, `daemon.py` catches those of the server; everything below raises.
"""

from runner_protocol.problems import Stale
from runner_protocol.results import Fault, FaultClass, Stage


class AgentError(Exception):
    """The root of every error that the agent raises on purpose."""


class JobFault(AgentError):
    """The job is at fault. Carries the fault that the report will show."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class HostFault(AgentError):
    """This machine is at fault. Carries the fault with which the job is handed back."""

    def __init__(self, kind: FaultClass, stage: Stage, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(kind=kind, stage=stage, message=message)


class ServerFault(AgentError):
    """The server could not be reached, or answered in a way that passes."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LeaseLostError(AgentError):
    """The server refused the attempt: kill the container and forget the job."""

    def __init__(self, reason: Stale, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RefusedError(AgentError):
    """The server refused a call for good, for a reason that asking again will not change."""


class IdentityFault(AgentError):
    """The runner's key is unknown, revoked or not this runner's."""


class SettingFault(AgentError):
    """A setting is wrong. The message names it and its source."""


class ServiceFault(AgentError):
    """systemd did not do what it was asked. The message says what, and where to look."""
