from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHealthResponse(_message.Message):
    __slots__ = ("healthy", "version", "services", "stack", "converged")
    class ServicesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    CONVERGED_FIELD_NUMBER: _ClassVar[int]
    healthy: bool
    version: str
    services: _containers.ScalarMap[str, str]
    stack: str
    converged: bool
    def __init__(self, healthy: bool = ..., version: _Optional[str] = ..., services: _Optional[_Mapping[str, str]] = ..., stack: _Optional[str] = ..., converged: bool = ...) -> None: ...

class GetConvergenceRequest(_message.Message):
    __slots__ = ("service_names",)
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service_names: _Optional[_Iterable[str]] = ...) -> None: ...

class GetConvergenceResponse(_message.Message):
    __slots__ = ("convergence",)
    CONVERGENCE_FIELD_NUMBER: _ClassVar[int]
    convergence: Convergence
    def __init__(self, convergence: _Optional[_Union[Convergence, _Mapping]] = ...) -> None: ...

class Convergence(_message.Message):
    __slots__ = ("converged", "healthy", "stack", "source", "services", "resources", "invalid_manifests", "notes", "engine", "observe_only", "time", "findings", "version", "kept")
    CONVERGED_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    INVALID_MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    converged: bool
    healthy: bool
    stack: str
    source: Source
    services: _containers.RepeatedCompositeFieldContainer[ServiceStatus]
    resources: _containers.RepeatedCompositeFieldContainer[ResourceStatus]
    invalid_manifests: int
    notes: _containers.RepeatedScalarFieldContainer[str]
    engine: EngineStatus
    observe_only: bool
    time: _timestamp_pb2.Timestamp
    findings: str
    version: str
    kept: _containers.RepeatedCompositeFieldContainer[Kept]
    def __init__(self, converged: bool = ..., healthy: bool = ..., stack: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., services: _Optional[_Iterable[_Union[ServiceStatus, _Mapping]]] = ..., resources: _Optional[_Iterable[_Union[ResourceStatus, _Mapping]]] = ..., invalid_manifests: _Optional[int] = ..., notes: _Optional[_Iterable[str]] = ..., engine: _Optional[_Union[EngineStatus, _Mapping]] = ..., observe_only: bool = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., findings: _Optional[str] = ..., version: _Optional[str] = ..., kept: _Optional[_Iterable[_Union[Kept, _Mapping]]] = ...) -> None: ...

class Kept(_message.Message):
    __slots__ = ("kind", "name", "reason", "message")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    reason: str
    message: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("kind", "location", "revision", "short_revision", "error")
    KIND_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SHORT_REVISION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    kind: str
    location: str
    revision: str
    short_revision: str
    error: str
    def __init__(self, kind: _Optional[str] = ..., location: _Optional[str] = ..., revision: _Optional[str] = ..., short_revision: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class EngineStatus(_message.Message):
    __slots__ = ("reachable", "address", "version", "message", "since")
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    reachable: bool
    address: str
    version: str
    message: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, reachable: bool = ..., address: _Optional[str] = ..., version: _Optional[str] = ..., message: _Optional[str] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ServiceStatus(_message.Message):
    __slots__ = ("name", "required", "ready", "phase", "reason", "message", "generation", "observed_generation", "converged", "container_id", "image", "ports", "stand_in", "started_at", "restarts", "exit_code", "revision", "depends_on", "conditions", "next")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    CONVERGED_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    STAND_IN_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    required: bool
    ready: bool
    phase: str
    reason: str
    message: str
    generation: int
    observed_generation: int
    converged: bool
    container_id: str
    image: str
    ports: _containers.RepeatedScalarFieldContainer[str]
    stand_in: str
    started_at: _timestamp_pb2.Timestamp
    restarts: int
    exit_code: int
    revision: str
    depends_on: _containers.RepeatedCompositeFieldContainer[Dependency]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    next: str
    def __init__(self, name: _Optional[str] = ..., required: bool = ..., ready: bool = ..., phase: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., generation: _Optional[int] = ..., observed_generation: _Optional[int] = ..., converged: bool = ..., container_id: _Optional[str] = ..., image: _Optional[str] = ..., ports: _Optional[_Iterable[str]] = ..., stand_in: _Optional[str] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., restarts: _Optional[int] = ..., exit_code: _Optional[int] = ..., revision: _Optional[str] = ..., depends_on: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class Dependency(_message.Message):
    __slots__ = ("service", "condition")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    service: str
    condition: str
    def __init__(self, service: _Optional[str] = ..., condition: _Optional[str] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("type", "status", "reason", "message", "last_transition_time")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_TRANSITION_TIME_FIELD_NUMBER: _ClassVar[int]
    type: str
    status: str
    reason: str
    message: str
    last_transition_time: _timestamp_pb2.Timestamp
    def __init__(self, type: _Optional[str] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., last_transition_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResourceStatus(_message.Message):
    __slots__ = ("kind", "name", "ready", "phase", "reason", "message", "converged")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CONVERGED_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    ready: bool
    phase: str
    reason: str
    message: str
    converged: bool
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., ready: bool = ..., phase: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., converged: bool = ...) -> None: ...

class WatchConvergenceRequest(_message.Message):
    __slots__ = ("service_names",)
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service_names: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchConvergenceResponse(_message.Message):
    __slots__ = ("convergence", "removed", "whole")
    CONVERGENCE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    convergence: Convergence
    removed: _containers.RepeatedScalarFieldContainer[str]
    whole: bool
    def __init__(self, convergence: _Optional[_Union[Convergence, _Mapping]] = ..., removed: _Optional[_Iterable[str]] = ..., whole: bool = ...) -> None: ...

class GetQueueMetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetQueueMetricsResponse(_message.Message):
    __slots__ = ("depth", "adds_total", "retries_total", "in_flight", "oldest_age", "queue_duration", "work_duration", "backoff")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    ADDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RETRIES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DURATION_FIELD_NUMBER: _ClassVar[int]
    WORK_DURATION_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_FIELD_NUMBER: _ClassVar[int]
    depth: int
    adds_total: int
    retries_total: int
    in_flight: int
    oldest_age: _duration_pb2.Duration
    queue_duration: Histogram
    work_duration: Histogram
    backoff: _containers.RepeatedCompositeFieldContainer[KeyBackoff]
    def __init__(self, depth: _Optional[int] = ..., adds_total: _Optional[int] = ..., retries_total: _Optional[int] = ..., in_flight: _Optional[int] = ..., oldest_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., queue_duration: _Optional[_Union[Histogram, _Mapping]] = ..., work_duration: _Optional[_Union[Histogram, _Mapping]] = ..., backoff: _Optional[_Iterable[_Union[KeyBackoff, _Mapping]]] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ("count", "sum", "buckets")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    count: int
    sum: float
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    def __init__(self, count: _Optional[int] = ..., sum: _Optional[float] = ..., buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ...) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("upper_bound", "count")
    UPPER_BOUND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    upper_bound: float
    count: int
    def __init__(self, upper_bound: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class KeyBackoff(_message.Message):
    __slots__ = ("key", "failures", "due_in")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    DUE_IN_FIELD_NUMBER: _ClassVar[int]
    key: str
    failures: int
    due_in: _duration_pb2.Duration
    def __init__(self, key: _Optional[str] = ..., failures: _Optional[int] = ..., due_in: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class GetMetricsResponse(_message.Message):
    __slots__ = ("metrics",)
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    METRICS_FIELD_NUMBER: _ClassVar[int]
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class SyncRequest(_message.Message):
    __slots__ = ("service_names", "allow_prune")
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    ALLOW_PRUNE_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    allow_prune: bool
    def __init__(self, service_names: _Optional[_Iterable[str]] = ..., allow_prune: bool = ...) -> None: ...

class SyncResponse(_message.Message):
    __slots__ = ("revision", "services", "message")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    revision: str
    services: int
    message: str
    def __init__(self, revision: _Optional[str] = ..., services: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class SuspendRequest(_message.Message):
    __slots__ = ("service_names",)
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service_names: _Optional[_Iterable[str]] = ...) -> None: ...

class SuspendResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, changed: _Optional[_Iterable[str]] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("service_names",)
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service_names: _Optional[_Iterable[str]] = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("changed", "still_suspended")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    STILL_SUSPENDED_FIELD_NUMBER: _ClassVar[int]
    changed: _containers.RepeatedScalarFieldContainer[str]
    still_suspended: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, changed: _Optional[_Iterable[str]] = ..., still_suspended: _Optional[_Iterable[str]] = ...) -> None: ...

class RetryRequest(_message.Message):
    __slots__ = ("service_names",)
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service_names: _Optional[_Iterable[str]] = ...) -> None: ...

class RetryResponse(_message.Message):
    __slots__ = ("retried",)
    RETRIED_FIELD_NUMBER: _ClassVar[int]
    retried: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, retried: _Optional[_Iterable[str]] = ...) -> None: ...

class RestartRequest(_message.Message):
    __slots__ = ("service_names",)
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service_names: _Optional[_Iterable[str]] = ...) -> None: ...

class RestartResponse(_message.Message):
    __slots__ = ("restarting",)
    RESTARTING_FIELD_NUMBER: _ClassVar[int]
    restarting: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, restarting: _Optional[_Iterable[str]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("service_names", "limit")
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    def __init__(self, service_names: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("sequence", "first_time", "last_time", "count", "subject", "warning", "reason", "message", "by", "revision")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    first_time: _timestamp_pb2.Timestamp
    last_time: _timestamp_pb2.Timestamp
    count: int
    subject: str
    warning: bool
    reason: str
    message: str
    by: str
    revision: str
    def __init__(self, sequence: _Optional[int] = ..., first_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., count: _Optional[int] = ..., subject: _Optional[str] = ..., warning: bool = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., by: _Optional[str] = ..., revision: _Optional[str] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("service_names", "past", "after_sequence")
    SERVICE_NAMES_FIELD_NUMBER: _ClassVar[int]
    PAST_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    service_names: _containers.RepeatedScalarFieldContainer[str]
    past: int
    after_sequence: int
    def __init__(self, service_names: _Optional[_Iterable[str]] = ..., past: _Optional[int] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("event", "missed")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    event: Event
    missed: int
    def __init__(self, event: _Optional[_Union[Event, _Mapping]] = ..., missed: _Optional[int] = ...) -> None: ...

class DescribeServiceRequest(_message.Message):
    __slots__ = ("service_name",)
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    def __init__(self, service_name: _Optional[str] = ...) -> None: ...

class DescribeServiceResponse(_message.Message):
    __slots__ = ("service", "spec", "dependents", "drift", "plan", "probes", "events", "manifest", "containers", "suspended_by", "backoff", "ending")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DEPENDENTS_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_BY_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    service: ServiceStatus
    spec: str
    dependents: _containers.RepeatedScalarFieldContainer[str]
    drift: _containers.RepeatedCompositeFieldContainer[FieldDrift]
    plan: str
    probes: _containers.RepeatedCompositeFieldContainer[ProbeResult]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    manifest: str
    containers: _containers.RepeatedScalarFieldContainer[str]
    suspended_by: str
    backoff: KeyBackoff
    ending: Ending
    def __init__(self, service: _Optional[_Union[ServiceStatus, _Mapping]] = ..., spec: _Optional[str] = ..., dependents: _Optional[_Iterable[str]] = ..., drift: _Optional[_Iterable[_Union[FieldDrift, _Mapping]]] = ..., plan: _Optional[str] = ..., probes: _Optional[_Iterable[_Union[ProbeResult, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., manifest: _Optional[str] = ..., containers: _Optional[_Iterable[str]] = ..., suspended_by: _Optional[str] = ..., backoff: _Optional[_Union[KeyBackoff, _Mapping]] = ..., ending: _Optional[_Union[Ending, _Mapping]] = ...) -> None: ...

class Ending(_message.Message):
    __slots__ = ("how", "time", "lines")
    HOW_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    how: str
    time: _timestamp_pb2.Timestamp
    lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, how: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., lines: _Optional[_Iterable[str]] = ...) -> None: ...

class FieldDrift(_message.Message):
    __slots__ = ("field", "old", "new", "closed_by", "cause")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    OLD_FIELD_NUMBER: _ClassVar[int]
    NEW_FIELD_NUMBER: _ClassVar[int]
    CLOSED_BY_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    field: str
    old: str
    new: str
    closed_by: str
    cause: str
    def __init__(self, field: _Optional[str] = ..., old: _Optional[str] = ..., new: _Optional[str] = ..., closed_by: _Optional[str] = ..., cause: _Optional[str] = ...) -> None: ...

class ProbeResult(_message.Message):
    __slots__ = ("probe", "passed", "message", "route", "time", "took", "consecutive_failures", "kind")
    PROBE_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TOOK_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    probe: str
    passed: bool
    message: str
    route: str
    time: _timestamp_pb2.Timestamp
    took: _duration_pb2.Duration
    consecutive_failures: int
    kind: str
    def __init__(self, probe: _Optional[str] = ..., passed: bool = ..., message: _Optional[str] = ..., route: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., took: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., consecutive_failures: _Optional[int] = ..., kind: _Optional[str] = ...) -> None: ...

class ReadLogsRequest(_message.Message):
    __slots__ = ("service_name", "follow", "tail", "since", "failed")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    follow: bool
    tail: int
    since: _timestamp_pb2.Timestamp
    failed: bool
    def __init__(self, service_name: _Optional[str] = ..., follow: bool = ..., tail: _Optional[int] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., failed: bool = ...) -> None: ...

class ReadLogsResponse(_message.Message):
    __slots__ = ("container_id", "stream", "time", "line")
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    container_id: str
    stream: str
    time: _timestamp_pb2.Timestamp
    line: str
    def __init__(self, container_id: _Optional[str] = ..., stream: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., line: _Optional[str] = ...) -> None: ...
