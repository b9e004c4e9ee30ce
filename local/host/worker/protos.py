"""The host's messages as the vendor's runtime builds them: plain values instead of generated protobuf classes.

The runtime is given the module that holds them. Where protobuf would refuse a value, and the app with it, so do these.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

INT32 = range(-(2**31), 2**31)
STRATEGIES = ("exponential_backoff", "fixed_delay")


@dataclass(frozen=True)
class BindingInfo:
    """A binding; numbers are those of the enumerations."""

    undefined: ClassVar[int] = 0
    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2

    type: str
    direction: int
    data_type: int | None


@dataclass(frozen=True, kw_only=True)
class RpcRetryOptions:
    """A retry policy; intervals are whole seconds."""

    max_retry_count: int
    retry_strategy: str
    delay_interval: timedelta = timedelta()
    minimum_interval: timedelta = timedelta()
    maximum_interval: timedelta = timedelta()

    def __post_init__(self) -> None:
        """Refuse what protobuf refuses."""
        if self.retry_strategy not in STRATEGIES:
            raise ValueError(f"unknown enum label {self.retry_strategy!r}: known are {', '.join(STRATEGIES)}")
        if self.max_retry_count not in INT32:
            raise ValueError(f"max_retry_count {self.max_retry_count} is no 32-bit integer")


@dataclass(frozen=True, kw_only=True)
class RpcFunctionMetadata:
    """A function as it was indexed."""

    name: str
    function_id: str
    raw_bindings: list[str]
    retry_options: RpcRetryOptions | None
    bindings: dict[str, BindingInfo]
    directory: str
    script_file: str
    entry_point: str
    language: str
    is_proxy: bool
    managed_dependency_enabled: bool
    properties: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class RpcException:
    """An error on its way to the host, or back in a retry context."""

    message: str
    stack_trace: str
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class StatusResult:
    """How a request ended."""

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1

    status: int
    exception: RpcException | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerMetadata:
    """What the worker says of itself."""

    runtime_name: str
    runtime_version: str
    worker_version: str
    worker_bitness: str
    custom_properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerInitResponse:
    """Answer to the first request, in which the app is indexed."""

    capabilities: dict[str, str]
    worker_metadata: WorkerMetadata
    result: StatusResult


@dataclass(frozen=True, kw_only=True)
class FunctionMetadataResponse:
    """The functions that were indexed; None where there are none."""

    use_default_metadata_indexing: bool
    function_metadata_results: list[Any] | None
    result: StatusResult
