from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Extension(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXTENSION_UNSPECIFIED: _ClassVar[Extension]
    EXTENSION_OK: _ClassVar[Extension]
    EXTENSION_LOST: _ClassVar[Extension]
    EXTENSION_CANCEL: _ClassVar[Extension]

class Answer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANSWER_UNSPECIFIED: _ClassVar[Answer]
    ANSWER_OK: _ClassVar[Answer]
    ANSWER_STALE: _ClassVar[Answer]
EXTENSION_UNSPECIFIED: Extension
EXTENSION_OK: Extension
EXTENSION_LOST: Extension
EXTENSION_CANCEL: Extension
ANSWER_UNSPECIFIED: Answer
ANSWER_OK: Answer
ANSWER_STALE: Answer

class SubmitTaskRequest(_message.Message):
    __slots__ = ("id", "payload", "priority", "workflow_id", "payload_json", "payload_bytes")
    class PayloadEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    payload: _containers.ScalarMap[str, str]
    priority: int
    workflow_id: str
    payload_json: bytes
    payload_bytes: bytes
    def __init__(self, id: _Optional[str] = ..., payload: _Optional[_Mapping[str, str]] = ..., priority: _Optional[int] = ..., workflow_id: _Optional[str] = ..., payload_json: _Optional[bytes] = ..., payload_bytes: _Optional[bytes] = ..., **kwargs) -> None: ...

class SubmitTaskResponse(_message.Message):
    __slots__ = ("success", "task_id", "error", "existed", "code")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    success: bool
    task_id: str
    error: str
    existed: bool
    code: int
    def __init__(self, success: bool = ..., task_id: _Optional[str] = ..., error: _Optional[str] = ..., existed: bool = ..., code: _Optional[int] = ...) -> None: ...

class StreamTaskResultsRequest(_message.Message):
    __slots__ = ("task_ids", "include_completed")
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    task_ids: _containers.RepeatedScalarFieldContainer[str]
    include_completed: bool
    def __init__(self, task_ids: _Optional[_Iterable[str]] = ..., include_completed: bool = ...) -> None: ...

class TaskResult(_message.Message):
    __slots__ = ("task_id", "status", "result", "error", "duration_ms", "completed_at", "result_json", "result_bytes", "attempts")
    class ResultEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    status: str
    result: _containers.ScalarMap[str, str]
    error: str
    duration_ms: float
    completed_at: int
    result_json: bytes
    result_bytes: bytes
    attempts: int
    def __init__(self, task_id: _Optional[str] = ..., status: _Optional[str] = ..., result: _Optional[_Mapping[str, str]] = ..., error: _Optional[str] = ..., duration_ms: _Optional[float] = ..., completed_at: _Optional[int] = ..., result_json: _Optional[bytes] = ..., result_bytes: _Optional[bytes] = ..., attempts: _Optional[int] = ...) -> None: ...

class GetTaskStatusRequest(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class GetTaskStatusResponse(_message.Message):
    __slots__ = ("task_id", "status", "result", "error", "result_json", "result_bytes", "priority", "attempts", "max_attempts", "worker_id", "workflow_id", "submitted_at", "started_at", "completed_at", "retry_in_ms")
    class ResultEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    RETRY_IN_MS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    status: str
    result: _containers.ScalarMap[str, str]
    error: str
    result_json: bytes
    result_bytes: bytes
    priority: int
    attempts: int
    max_attempts: int
    worker_id: str
    workflow_id: str
    submitted_at: int
    started_at: int
    completed_at: int
    retry_in_ms: int
    def __init__(self, task_id: _Optional[str] = ..., status: _Optional[str] = ..., result: _Optional[_Mapping[str, str]] = ..., error: _Optional[str] = ..., result_json: _Optional[bytes] = ..., result_bytes: _Optional[bytes] = ..., priority: _Optional[int] = ..., attempts: _Optional[int] = ..., max_attempts: _Optional[int] = ..., worker_id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., submitted_at: _Optional[int] = ..., started_at: _Optional[int] = ..., completed_at: _Optional[int] = ..., retry_in_ms: _Optional[int] = ..., **kwargs) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ("metric_names",)
    METRIC_NAMES_FIELD_NUMBER: _ClassVar[int]
    metric_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, metric_names: _Optional[_Iterable[str]] = ...) -> None: ...

class GetMetricsResponse(_message.Message):
    __slots__ = ("metrics", "timestamp")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    METRICS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    metrics: _containers.ScalarMap[str, float]
    timestamp: int
    def __init__(self, metrics: _Optional[_Mapping[str, float]] = ..., timestamp: _Optional[int] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("event_types", "since_timestamp")
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    event_types: _containers.RepeatedScalarFieldContainer[str]
    since_timestamp: int
    def __init__(self, event_types: _Optional[_Iterable[str]] = ..., since_timestamp: _Optional[int] = ...) -> None: ...

class TaskEvent(_message.Message):
    __slots__ = ("event_type", "resource_id", "data", "timestamp")
    class DataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    event_type: str
    resource_id: str
    data: _containers.ScalarMap[str, str]
    timestamp: int
    def __init__(self, event_type: _Optional[str] = ..., resource_id: _Optional[str] = ..., data: _Optional[_Mapping[str, str]] = ..., timestamp: _Optional[int] = ...) -> None: ...

class HealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthResponse(_message.Message):
    __slots__ = ("healthy", "version", "services", "stack")
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
    healthy: bool
    version: str
    services: _containers.ScalarMap[str, str]
    stack: str
    def __init__(self, healthy: bool = ..., version: _Optional[str] = ..., services: _Optional[_Mapping[str, str]] = ..., stack: _Optional[str] = ...) -> None: ...

class CreateWorkflowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateWorkflowResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartWorkflowRunRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartWorkflowRunResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamWorkflowStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkflowStatus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SubmitTasksRequest(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[SubmitTaskRequest]
    def __init__(self, tasks: _Optional[_Iterable[_Union[SubmitTaskRequest, _Mapping]]] = ...) -> None: ...

class SubmitTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SubmitTaskResponse]
    def __init__(self, results: _Optional[_Iterable[_Union[SubmitTaskResponse, _Mapping]]] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("hello", "credit", "drain")
    class Hello(_message.Message):
        __slots__ = ("worker_id", "instance_id", "slots", "lease_ms", "client_version")
        WORKER_ID_FIELD_NUMBER: _ClassVar[int]
        INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
        SLOTS_FIELD_NUMBER: _ClassVar[int]
        LEASE_MS_FIELD_NUMBER: _ClassVar[int]
        CLIENT_VERSION_FIELD_NUMBER: _ClassVar[int]
        worker_id: str
        instance_id: str
        slots: _containers.RepeatedCompositeFieldContainer[LeaseRequest.Slots]
        lease_ms: int
        client_version: str
        def __init__(self, worker_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., slots: _Optional[_Iterable[_Union[LeaseRequest.Slots, _Mapping]]] = ..., lease_ms: _Optional[int] = ..., client_version: _Optional[str] = ...) -> None: ...
    class Slots(_message.Message):
        __slots__ = ("slots",)
        CLASS_FIELD_NUMBER: _ClassVar[int]
        SLOTS_FIELD_NUMBER: _ClassVar[int]
        slots: int
        def __init__(self, slots: _Optional[int] = ..., **kwargs) -> None: ...
    class Credit(_message.Message):
        __slots__ = ("add",)
        CLASS_FIELD_NUMBER: _ClassVar[int]
        ADD_FIELD_NUMBER: _ClassVar[int]
        add: int
        def __init__(self, add: _Optional[int] = ..., **kwargs) -> None: ...
    class Drain(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    hello: LeaseRequest.Hello
    credit: LeaseRequest.Credit
    drain: LeaseRequest.Drain
    def __init__(self, hello: _Optional[_Union[LeaseRequest.Hello, _Mapping]] = ..., credit: _Optional[_Union[LeaseRequest.Credit, _Mapping]] = ..., drain: _Optional[_Union[LeaseRequest.Drain, _Mapping]] = ...) -> None: ...

class LeaseEvent(_message.Message):
    __slots__ = ("welcome", "lease", "cancel", "drain")
    class Welcome(_message.Message):
        __slots__ = ("lease_ms", "heartbeat_ms", "daemon_id")
        LEASE_MS_FIELD_NUMBER: _ClassVar[int]
        HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
        DAEMON_ID_FIELD_NUMBER: _ClassVar[int]
        lease_ms: int
        heartbeat_ms: int
        daemon_id: str
        def __init__(self, lease_ms: _Optional[int] = ..., heartbeat_ms: _Optional[int] = ..., daemon_id: _Optional[str] = ...) -> None: ...
    class Lease(_message.Message):
        __slots__ = ("task_id", "payload", "attempt", "max_attempts", "lease_token", "lease_ms", "time_limit_ms", "priority", "workflow_id", "payload_json", "payload_bytes")
        class PayloadEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        TASK_ID_FIELD_NUMBER: _ClassVar[int]
        CLASS_FIELD_NUMBER: _ClassVar[int]
        PAYLOAD_FIELD_NUMBER: _ClassVar[int]
        ATTEMPT_FIELD_NUMBER: _ClassVar[int]
        MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
        LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
        LEASE_MS_FIELD_NUMBER: _ClassVar[int]
        TIME_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
        PRIORITY_FIELD_NUMBER: _ClassVar[int]
        WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
        PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
        PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
        task_id: str
        payload: _containers.ScalarMap[str, str]
        attempt: int
        max_attempts: int
        lease_token: str
        lease_ms: int
        time_limit_ms: int
        priority: int
        workflow_id: str
        payload_json: bytes
        payload_bytes: bytes
        def __init__(self, task_id: _Optional[str] = ..., payload: _Optional[_Mapping[str, str]] = ..., attempt: _Optional[int] = ..., max_attempts: _Optional[int] = ..., lease_token: _Optional[str] = ..., lease_ms: _Optional[int] = ..., time_limit_ms: _Optional[int] = ..., priority: _Optional[int] = ..., workflow_id: _Optional[str] = ..., payload_json: _Optional[bytes] = ..., payload_bytes: _Optional[bytes] = ..., **kwargs) -> None: ...
    class Cancel(_message.Message):
        __slots__ = ("task_id", "lease_token", "reason")
        TASK_ID_FIELD_NUMBER: _ClassVar[int]
        LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        task_id: str
        lease_token: str
        reason: str
        def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
    class Drain(_message.Message):
        __slots__ = ("reason", "grace_ms")
        REASON_FIELD_NUMBER: _ClassVar[int]
        GRACE_MS_FIELD_NUMBER: _ClassVar[int]
        reason: str
        grace_ms: int
        def __init__(self, reason: _Optional[str] = ..., grace_ms: _Optional[int] = ...) -> None: ...
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    welcome: LeaseEvent.Welcome
    lease: LeaseEvent.Lease
    cancel: LeaseEvent.Cancel
    drain: LeaseEvent.Drain
    def __init__(self, welcome: _Optional[_Union[LeaseEvent.Welcome, _Mapping]] = ..., lease: _Optional[_Union[LeaseEvent.Lease, _Mapping]] = ..., cancel: _Optional[_Union[LeaseEvent.Cancel, _Mapping]] = ..., drain: _Optional[_Union[LeaseEvent.Drain, _Mapping]] = ...) -> None: ...

class LeaseRef(_message.Message):
    __slots__ = ("task_id", "lease_token")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ...) -> None: ...

class ExtendLeaseRequest(_message.Message):
    __slots__ = ("leases", "lease_ms")
    LEASES_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[LeaseRef]
    lease_ms: int
    def __init__(self, leases: _Optional[_Iterable[_Union[LeaseRef, _Mapping]]] = ..., lease_ms: _Optional[int] = ...) -> None: ...

class ExtendLeaseResponse(_message.Message):
    __slots__ = ("extensions",)
    EXTENSIONS_FIELD_NUMBER: _ClassVar[int]
    extensions: _containers.RepeatedScalarFieldContainer[Extension]
    def __init__(self, extensions: _Optional[_Iterable[_Union[Extension, str]]] = ...) -> None: ...

class CompleteTaskRequest(_message.Message):
    __slots__ = ("task_id", "lease_token", "result", "result_json", "result_bytes")
    class ResultEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    result: _containers.ScalarMap[str, str]
    result_json: bytes
    result_bytes: bytes
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., result: _Optional[_Mapping[str, str]] = ..., result_json: _Optional[bytes] = ..., result_bytes: _Optional[bytes] = ...) -> None: ...

class CompleteTaskResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    def __init__(self, answer: _Optional[_Union[Answer, str]] = ...) -> None: ...

class FailTaskRequest(_message.Message):
    __slots__ = ("task_id", "lease_token", "error", "retryable", "retry_after_ms")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    error: str
    retryable: bool
    retry_after_ms: int
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., error: _Optional[str] = ..., retryable: bool = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class FailTaskResponse(_message.Message):
    __slots__ = ("answer", "dead", "retry_in_ms")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    RETRY_IN_MS_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    dead: bool
    retry_in_ms: int
    def __init__(self, answer: _Optional[_Union[Answer, str]] = ..., dead: bool = ..., retry_in_ms: _Optional[int] = ...) -> None: ...

class ReleaseTaskRequest(_message.Message):
    __slots__ = ("task_id", "lease_token")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ...) -> None: ...

class ReleaseTaskResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    def __init__(self, answer: _Optional[_Union[Answer, str]] = ...) -> None: ...

class CancelTaskRequest(_message.Message):
    __slots__ = ("task_id", "reason")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    reason: str
    def __init__(self, task_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelTaskResponse(_message.Message):
    __slots__ = ("previous_status",)
    PREVIOUS_STATUS_FIELD_NUMBER: _ClassVar[int]
    previous_status: str
    def __init__(self, previous_status: _Optional[str] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("statuses", "limit", "page_token")
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    page_token: str
    def __init__(self, statuses: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., page_token: _Optional[str] = ..., **kwargs) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("tasks", "next_page_token")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[GetTaskStatusResponse]
    next_page_token: str
    def __init__(self, tasks: _Optional[_Iterable[_Union[GetTaskStatusResponse, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListDeadTasksRequest(_message.Message):
    __slots__ = ("limit", "page_token")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    limit: int
    page_token: str
    def __init__(self, limit: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDeadTasksResponse(_message.Message):
    __slots__ = ("tasks", "next_page_token")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[GetTaskStatusResponse]
    next_page_token: str
    def __init__(self, tasks: _Optional[_Iterable[_Union[GetTaskStatusResponse, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RequeueTaskRequest(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class RequeueTaskResponse(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...
