"""Every name, unit, description and bucket that this package emits, as far as its code needs them.

What they mean, their types, and when they are there is said in ``docs/registry``, which nothing reads at
run time; tests hold the two together, and every span and metric of a test to the registry.

Names that OpenTelemetry has come from `semantic conventions 1.44.0
<https://github.com/open-telemetry/semantic-conventions/tree/v1.44.0/docs/database>`_.
There is no convention for caches yet: the ``cache.*`` names follow .NET's
``cache.requests{cache.name, cache.request.type}`` and Sentry's span attributes.
Names that upstream marks "Development" are copied here as text, so that nobody inherits a
dependency on an unstable package.
"""

from __future__ import annotations

from typing import NamedTuple

from opentelemetry.semconv.attributes.db_attributes import (
    DB_NAMESPACE as DB_NAMESPACE,
)
from opentelemetry.semconv.attributes.db_attributes import (
    DB_OPERATION_BATCH_SIZE as DB_OPERATION_BATCH_SIZE,
)
from opentelemetry.semconv.attributes.db_attributes import (
    DB_OPERATION_NAME as DB_OPERATION_NAME,
)
from opentelemetry.semconv.attributes.db_attributes import (
    DB_QUERY_TEXT as DB_QUERY_TEXT,
)
from opentelemetry.semconv.attributes.db_attributes import (
    DB_RESPONSE_STATUS_CODE as DB_RESPONSE_STATUS_CODE,
)
from opentelemetry.semconv.attributes.db_attributes import (
    DB_STORED_PROCEDURE_NAME as DB_STORED_PROCEDURE_NAME,
)
from opentelemetry.semconv.attributes.db_attributes import (
    DB_SYSTEM_NAME as DB_SYSTEM_NAME,
)
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE as ERROR_TYPE
from opentelemetry.semconv.attributes.network_attributes import (
    NETWORK_PEER_ADDRESS as NETWORK_PEER_ADDRESS,
)
from opentelemetry.semconv.attributes.network_attributes import (
    NETWORK_PEER_PORT as NETWORK_PEER_PORT,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS as SERVER_ADDRESS
from opentelemetry.semconv.attributes.server_attributes import SERVER_PORT as SERVER_PORT

SCOPE = "otel_redis_cache"
SERVICE_INSTANCE_ID = "service.instance.id"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

# Attributes that only this package has.
CACHE_NAME = "cache.name"
CACHE_HIT = "cache.hit"
CACHE_HITS = "cache.hits"
CACHE_MISSES = "cache.misses"
CACHE_KEY = "cache.key"
CACHE_TTL = "cache.ttl"
CACHE_ITEM_SIZE = "cache.item.size"
CACHE_STAMPEDE = "cache.stampede"
CACHE_REQUEST_TYPE = "cache.request.type"
CACHE_WRITE_TTL = "cache.write.ttl"
CACHE_WRITE_RESULT = "cache.write.result"
CACHE_IO_DIRECTION = "cache.io.direction"
EVICTION_REASON = "cache.eviction.reason"
INVALIDATION_REMOVED = "cache.invalidation.removed"
INVALIDATION_REASON = "cache.invalidation.reason"
INVALIDATION_EFFECT = "cache.invalidation.effect"
INVALIDATION_TRIGGER = "cache.invalidation.trigger"
BATCH_FAILED_COUNT = "redis.batch.failed.count"
BATCH_FAILED_INDEX = "redis.batch.failed.index"
BATCH_FAILED_OPERATION = "redis.batch.failed.operation"
SCRIPT_LOADS = "redis.client.script.loads"
RETRY_COUNT = "redis.client.retry.count"
REDIRECTION_COUNT = "redis.client.redirection.count"
REDIRECTION_TYPE = "redis.client.redirection.type"
LOCAL_RESULT = "redis.client.csc.result"
POOL_NAME = "db.client.connection.pool.name"
CONNECTION_STATE = "db.client.connection.state"
PUBSUB_DIRECTION = "redis.client.pubsub.message.direction"
STEP = "otel_redis_cache.step"
BOUND = "otel_redis_cache.bound"

# Of a server, as the Collector's redis receiver calls them.
CPU_STATE = "state"
DATABASE = "db"
COMMAND = "cmd"
PERCENTILE = "percentile"

# Of messages; all of these are marked "Development" upstream.
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION_NAME = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_DESTINATION_NAME = "messaging.destination.name"
MESSAGING_CONSUMER_GROUP_NAME = "messaging.consumer.group.name"

# Values of attributes.
REDIS = "redis"
VALKEY = "valkey"
DEFAULT_CACHE = "_default"
OTHER_CACHE = "_other"
MIXED_CACHES = "_mixed"
RESERVED_CACHES = (DEFAULT_CACHE, OTHER_CACHE, MIXED_CACHES)
OTHER_OPERATION = "_OTHER"
OTHER_ERROR = "_OTHER"
OTHER_ADDRESS = "_other"
OTHER_REASON = "_other"
OTHER_POOL = "_other"
IDLE, USED = "idle", "used"
OTHER_GROUP = "_other"
HIT, MISS, ERROR = "hit", "miss", "error"
TTL_SET, TTL_NONE, TTL_KEPT = "set", "none", "kept"
STORED, REFUSED = "stored", "refused"
READ, WRITE = "read", "write"
MOVED, ASK = "moved", "ask"
PUBLISHED, RECEIVED = "publish", "receive"  # as redis-py's own metric of this name says it
PROCESS = "process"
DELETE, EXPIRE, FLUSH, RENAME, OVERWRITE = "delete", "expire", "flush", "rename", "overwrite"
REASONS = (DELETE, EXPIRE, FLUSH, RENAME, OVERWRITE)
EXPIRED, EVICTED = "expired", "evicted"  # as keyspace events are called
REMOVED, NONE, PARTIAL, UNKNOWN = "removed", "none", "partial", "unknown"
FINALISER = "finaliser"
STEPS = (
    "open",
    "conflict",
    "describe",
    "target",
    "start",
    "request_hook",
    "outcome",
    "count",
    "loads",
    "values",
    "attributes",
    "duration",
    "response_hook",
    "finish",
    "replies",
    "attempts",
    "invalidation",
    "outage",
    "latency",
    "connections",
    "snapshot",
    "health",
    "traffic",
    "propagate",
    "consume",
    "watch",
    FINALISER,
)
NAMES_BOUND, REASONS_BOUND, SERIES_BOUND = "names", "reasons", "series"
BOUNDS = (NAMES_BOUND, REASONS_BOUND, SERIES_BOUND)

# What health() may say.
OUTAGE, TIMEOUTS, FAULTS = "outage", "timeouts", "faults"
NOT_INSTRUMENTED, SWITCHED_OFF = "not_instrumented", "switched_off"
HEALTH_CODES = {
    OUTAGE: "A server in use does not answer; unhealthy if this is so of each server in use.",
    TIMEOUTS: "The last one or two calls to a server timed out.",
    FAULTS: "Faults of this package were contained: telemetry is incomplete.",
    NOT_INSTRUMENTED: "No client is watched: `instrument()` was not called, was taken back, or has "
    "settings that leave nothing to watch.",
    SWITCHED_OFF: "Another instrumentation makes the same telemetry, and `on_conflict` is `off`.",
}
"""Why a process is not healthy, and what that means."""

MAX_SERIES = 1_500
"""Attribute sets that one instrument may have in a process; below the SDK's own limit of 2,000."""

MAX_REASONS = 10
"""Reasons of the application's own that metrics carry; later ones are ``_other``."""

MAX_POOLS = 500
"""Names of connection pools that metrics carry; later ones are ``_other``."""

MAX_GROUPS = 20
"""Consumer groups that metrics carry; later ones are ``_other``."""

TARGET_ATTRIBUTES = (DB_SYSTEM_NAME, DB_NAMESPACE, SERVER_ADDRESS, SERVER_PORT)
"""Where a call went, as the client was configured: on every span and on most metrics."""

# The convention's buckets start at 1 ms; a Redis on the same machine or network answers below it.
DURATION_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
BLOCKED_BUCKETS = (0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TTL_BUCKETS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 604800.0, 2592000.0)
LOAD_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0),
)
SIZE_BUCKETS = tuple(float(64 * 4**power) for power in range(10))  # 64 B to 16 MiB
OUTAGE_BUCKETS = (
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
INVALIDATION_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)

SAMPLER_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0)

LAG_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0),
    *(10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0),
)


CONNECTIONS, POOL_TIMES = "connections", "pool_times"
"""Groups of metrics that need wrappers of their own."""

WATCH_COMMANDS, SAMPLE_MEMORY, LISTEN_EVENTS = "watch_commands", "sample_memory", "listen_events"
"""Settings that make metrics about a server, beside those that each watched server has."""

SERVER_ATTRIBUTES = (SERVER_ADDRESS, SERVER_PORT)
"""Which server a point is about: the node, as it is reached; the path of a socket has no port."""


class Metric(NamedTuple):
    """One row of the contract."""

    name: str
    kind: str  # histogram; observable: counter, updowncounter, gauge
    unit: str
    description: str
    attributes: tuple[str, ...]
    group: str | None = None
    """Switches it, in the setting `metrics`; None: always on. Of a server: the setting that does."""
    buckets: tuple[float, ...] = ()


SPAN_OF_INVALIDATION = "cache.invalidate"
SPAN_OF_CONSUMPTION = PROCESS

OPERATION_DURATION = Metric(
    "db.client.operation.duration",
    "histogram",
    "s",
    "Duration of database client operations.",
    (*TARGET_ATTRIBUTES, DB_OPERATION_NAME, ERROR_TYPE, DB_RESPONSE_STATUS_CODE, CACHE_NAME),
    "operations",
    DURATION_BUCKETS,
)
BLOCKED_DURATION = Metric(
    "redis.client.blocked.duration",
    "histogram",
    "s",
    "Duration of commands that wait at the server for data to arrive.",
    (*TARGET_ATTRIBUTES, DB_OPERATION_NAME, ERROR_TYPE, DB_RESPONSE_STATUS_CODE),
    "operations",
    BLOCKED_BUCKETS,
)
CACHE_REQUESTS = Metric(
    "cache.requests",
    "counter",
    "{request}",
    "Keys or fields asked for, by what came of it.",
    (*TARGET_ATTRIBUTES, CACHE_NAME, CACHE_REQUEST_TYPE),
    "cache",
)
CACHE_WRITES = Metric(
    "cache.writes",
    "counter",
    "{entry}",
    "Keys written, by what became of their time to live and by result.",
    (*TARGET_ATTRIBUTES, CACHE_NAME, CACHE_WRITE_TTL, CACHE_WRITE_RESULT),
    "cache",
)
CACHE_INVALIDATIONS = Metric(
    "cache.invalidations",
    "counter",
    "{entry}",
    "Entries removed, where the reply tells.",
    (*TARGET_ATTRIBUTES, CACHE_NAME, INVALIDATION_REASON),
    "cache",
)
CACHE_INVALIDATION_REQUESTS = Metric(
    "cache.invalidation.requests",
    "counter",
    "{request}",
    "Commands and calls of invalidate() that ask for removal, by effect.",
    (*TARGET_ATTRIBUTES, CACHE_NAME, INVALIDATION_REASON, INVALIDATION_EFFECT),
    "cache",
)
CACHE_INVALIDATION_DURATION = Metric(
    "cache.invalidation.duration",
    "histogram",
    "s",
    "Duration of calls of invalidate().",
    (DB_SYSTEM_NAME, CACHE_NAME, INVALIDATION_REASON, INVALIDATION_EFFECT),
    "cache",
    INVALIDATION_BUCKETS,
)
CACHE_HIT_RATIO = Metric(
    "cache.hit_ratio",
    "gauge",
    "1",
    "Hits / (hits + misses) of this process over the last minute; not to be averaged.",
    (DB_SYSTEM_NAME, CACHE_NAME),
    "ratio",
)
CACHE_TTLS = Metric(
    CACHE_TTL,
    "histogram",
    "s",
    "Times to live that writes and the EXPIRE family gave to entries.",
    (DB_SYSTEM_NAME, CACHE_NAME),
    "ttl",
    TTL_BUCKETS,
)
CACHE_LOAD_DURATION = Metric(
    "cache.load.duration",
    "histogram",
    "s",
    "Time from a miss to the write-back of the same key in this process.",
    (DB_SYSTEM_NAME, CACHE_NAME),
    "loads",
    LOAD_BUCKETS,
)
CACHE_STAMPEDES = Metric(
    "cache.stampedes",
    "counter",
    "{stampede}",
    "Misses that another caller met before the key was written back, once for each miss.",
    (*TARGET_ATTRIBUTES, CACHE_NAME),
    "loads",
)
CACHE_ITEM_SIZES = Metric(
    CACHE_ITEM_SIZE,
    "histogram",
    "By",
    "Sizes of the values read and written, where they can be told as they stand.",
    (DB_SYSTEM_NAME, CACHE_NAME, CACHE_IO_DIRECTION),
    "size",
    SIZE_BUCKETS,
)
CLIENT_UP = Metric(
    "redis.client.up",
    "gauge",
    "{server}",
    "1, or 0 while calls to a server fail on the network; no point 10 minutes after the last call.",
    TARGET_ATTRIBUTES,
    "resilience",
)
OUTAGE_DURATION = Metric(
    "redis.client.outage.duration",
    "histogram",
    "s",
    "Time from the first call that failed on the network to the next success, once an outage.",
    (*TARGET_ATTRIBUTES, ERROR_TYPE),
    "resilience",
    OUTAGE_BUCKETS,
)
RETRIES = Metric(
    "redis.client.retries",
    "counter",
    "{retry}",
    "Attempts that failed and were followed by another one of the same call, while connecting too.",
    (*TARGET_ATTRIBUTES, ERROR_TYPE),
    "resilience",
)
REDIRECTIONS = Metric(
    "redis.client.redirections",
    "counter",
    "{redirection}",
    "Answers of a cluster's nodes that sent the client elsewhere.",
    (*TARGET_ATTRIBUTES, REDIRECTION_TYPE),
    "resilience",
)
LOCAL_REQUESTS = Metric(
    "redis.client.csc.requests",
    "counter",
    "{request}",
    "Reads of clients that cache replies on their side: answered there, or by the server.",
    (*TARGET_ATTRIBUTES, LOCAL_RESULT),
    "cache",
)
CONNECTION_COUNT = Metric(
    "db.client.connection.count",
    "updowncounter",
    "{connection}",
    "The number of connections that are currently in state described by the `state` attribute.",
    (POOL_NAME, CONNECTION_STATE),
    CONNECTIONS,
)
CONNECTION_MAX = Metric(
    "db.client.connection.max",
    "updowncounter",
    "{connection}",
    "The maximum number of open connections allowed.",
    (POOL_NAME,),
    CONNECTIONS,
)
CONNECTION_PENDING = Metric(
    "db.client.connection.pending_requests",
    "updowncounter",
    "{request}",
    "The number of current pending requests for an open connection.",
    (POOL_NAME,),
    CONNECTIONS,
)
CONNECTION_TIMEOUTS = Metric(
    "db.client.connection.timeouts",
    "counter",
    "{timeout}",
    "The number of connection timeouts that have occurred trying to obtain a connection from the "
    "pool.",
    (POOL_NAME,),
    CONNECTIONS,
)
CONNECTION_CREATE_TIME = Metric(
    "db.client.connection.create_time",
    "histogram",
    "s",
    "The time it took to create a new connection.",
    (POOL_NAME,),
    CONNECTIONS,
    DURATION_BUCKETS,
)
CONNECTION_WAIT_TIME = Metric(
    "db.client.connection.wait_time",
    "histogram",
    "s",
    "The time it took to obtain an open connection from the pool.",
    (POOL_NAME,),
    CONNECTIONS,
    DURATION_BUCKETS,
)
CONNECTION_USE_TIME = Metric(
    "db.client.connection.use_time",
    "histogram",
    "s",
    "The time between borrowing a connection and returning it to the pool.",
    (POOL_NAME,),
    POOL_TIMES,
    DURATION_BUCKETS,
)
PUBSUB_MESSAGES = Metric(
    "redis.client.pubsub.messages",
    "counter",
    "{message}",
    "Pub/Sub messages that the server took from this process, and that it got from the server.",
    (*TARGET_ATTRIBUTES, MESSAGING_DESTINATION_NAME, PUBSUB_DIRECTION),
    "pubsub",
)
STREAM_LAG = Metric(
    "redis.client.stream.lag",
    "histogram",
    "s",
    "Age of stream entries, by the time in their ids, when they were handed to a consumer.",
    (*TARGET_ATTRIBUTES, MESSAGING_DESTINATION_NAME, MESSAGING_CONSUMER_GROUP_NAME),
    "streams",
    LAG_BUCKETS,
)
OWN_ERRORS = Metric(
    "otel_redis_cache.errors",
    "counter",
    "{error}",
    "Faults of this package that were contained, by step.",
    (STEP,),
)
OVERFLOWS = Metric(
    "otel_redis_cache.overflows",
    "counter",
    "{request}",
    "What was folded into _other because a bound was reached.",
    (BOUND,),
)

METRICS = (
    OPERATION_DURATION,
    BLOCKED_DURATION,
    CACHE_REQUESTS,
    CACHE_HIT_RATIO,
    CACHE_WRITES,
    CACHE_INVALIDATIONS,
    CACHE_INVALIDATION_REQUESTS,
    CACHE_INVALIDATION_DURATION,
    CACHE_TTLS,
    CACHE_LOAD_DURATION,
    CACHE_STAMPEDES,
    CACHE_ITEM_SIZES,
    CLIENT_UP,
    OUTAGE_DURATION,
    RETRIES,
    REDIRECTIONS,
    LOCAL_REQUESTS,
    CONNECTION_COUNT,
    CONNECTION_MAX,
    CONNECTION_PENDING,
    CONNECTION_TIMEOUTS,
    CONNECTION_CREATE_TIME,
    CONNECTION_WAIT_TIME,
    CONNECTION_USE_TIME,
    PUBSUB_MESSAGES,
    STREAM_LAG,
    OWN_ERRORS,
    OVERFLOWS,
)


def _of_server(
    name: str, kind: str, unit: str, description: str, *attributes: str, group: str | None = None
) -> Metric:
    return Metric(name, kind, unit, description, (*SERVER_ATTRIBUTES, *attributes), group)


UPTIME = _of_server("redis.uptime", "counter", "s", "Seconds that the server has run.")
CLIENTS_CONNECTED = _of_server(
    "redis.clients.connected", "updowncounter", "{client}", "Clients connected, replicas aside."
)
CLIENTS_BLOCKED = _of_server(
    "redis.clients.blocked", "updowncounter", "{client}", "Clients that wait in a blocking call."
)
CLIENTS_INPUT_BUFFER = _of_server(
    "redis.clients.max_input_buffer", "gauge", "By", "Largest input buffer of a client lately."
)
CLIENTS_OUTPUT_BUFFER = _of_server(
    "redis.clients.max_output_buffer", "gauge", "By", "Largest output buffer of a client lately."
)
MEMORY_USED = _of_server(
    "redis.memory.used", "gauge", "By", "Memory that the server has taken from its allocator."
)
MEMORY_RSS = _of_server(
    "redis.memory.rss", "gauge", "By", "Memory of the server as the operating system sees it."
)
MEMORY_PEAK = _of_server(
    "redis.memory.peak", "gauge", "By", "The most memory that was used since the server started."
)
MEMORY_LUA = _of_server("redis.memory.lua", "gauge", "By", "Memory used by the Lua engine.")
MEMORY_FRAGMENTATION = _of_server(
    "redis.memory.fragmentation_ratio",
    "gauge",
    "1",
    "redis.memory.rss / redis.memory.used; says nothing about a server that holds little.",
)
MAX_MEMORY = _of_server(
    "redis.maxmemory", "gauge", "By", "Memory that the server may use; 0: as much as there is."
)
CHANGES_NOT_SAVED = _of_server(
    "redis.rdb.changes_since_last_save", "updowncounter", "{change}", "Changes since the last dump."
)
LATEST_FORK = _of_server(
    "redis.latest_fork", "gauge", "us", "How long the server stood still for its latest fork."
)
CONNECTIONS_RECEIVED = _of_server(
    "redis.connections.received", "counter", "{connection}", "Connections that were accepted."
)
CONNECTIONS_REJECTED = _of_server(
    "redis.connections.rejected", "counter", "{connection}", "Connections beyond maxclients."
)
COMMANDS_PROCESSED = _of_server(
    "redis.commands.processed", "counter", "{command}", "Commands that the server has processed."
)
COMMANDS_PER_SECOND = _of_server(
    "redis.commands", "gauge", "{ops}/s", "Commands that the server processes in a second."
)
NET_INPUT = _of_server("redis.net.input", "counter", "By", "Bytes read from the network.")
NET_OUTPUT = _of_server("redis.net.output", "counter", "By", "Bytes written to the network.")
KEYS_EXPIRED = _of_server("redis.keys.expired", "counter", "{event}", "Keys that have expired.")
KEYS_EVICTED = _of_server(
    "redis.keys.evicted", "counter", "{key}", "Keys evicted because the server was full."
)
KEYSPACE_HITS = _of_server(
    "redis.keyspace.hits", "counter", "{hit}", "Lookups of keys that were there, by all clients."
)
KEYSPACE_MISSES = _of_server(
    "redis.keyspace.misses", "counter", "{miss}", "Lookups of keys that were not, by all clients."
)
REPLICAS_CONNECTED = _of_server(
    "redis.slaves.connected", "updowncounter", "{replica}", "Replicas connected to the server."
)
REPLICATION_OFFSET = _of_server(
    "redis.replication.offset", "gauge", "By", "How far the server is in its replication stream."
)
REPLICATION_BACKLOG_OFFSET = _of_server(
    "redis.replication.backlog_first_byte_offset",
    "gauge",
    "By",
    "Where in its replication stream the server's backlog begins.",
)
CPU_TIME = _of_server(
    "redis.cpu.time",
    "counter",
    "s",
    "Time of the processor that the server used, by who used it and for what.",
    CPU_STATE,
)
DATABASE_KEYS = _of_server("redis.db.keys", "gauge", "{key}", "Keys in a database.", DATABASE)
DATABASE_EXPIRES = _of_server(
    "redis.db.expires", "gauge", "{key}", "Keys in a database that have a time to live.", DATABASE
)
DATABASE_TTL = _of_server(
    "redis.db.avg_ttl",
    "gauge",
    "ms",
    "Average time to live in a database by the server's own estimate, which may be far off.",
    DATABASE,
)
COMMAND_CALLS = _of_server(
    "redis.cmd.calls", "counter", "{call}", "Calls of a command.", COMMAND, group=WATCH_COMMANDS
)
COMMAND_TIME = _of_server(
    "redis.cmd.usec",
    "counter",
    "us",
    "Time that the server spent on a command.",
    COMMAND,
    group=WATCH_COMMANDS,
)
COMMAND_LATENCY = _of_server(
    "redis.cmd.latency",
    "gauge",
    "s",
    "Percentiles of the time that a call of a command took since the server started.",
    *(COMMAND, PERCENTILE),
    group=WATCH_COMMANDS,
)

RECEIVER_METRICS = (
    UPTIME,
    CLIENTS_CONNECTED,
    CLIENTS_BLOCKED,
    CLIENTS_INPUT_BUFFER,
    CLIENTS_OUTPUT_BUFFER,
    MEMORY_USED,
    MEMORY_RSS,
    MEMORY_PEAK,
    MEMORY_LUA,
    MEMORY_FRAGMENTATION,
    MAX_MEMORY,
    CHANGES_NOT_SAVED,
    LATEST_FORK,
    CONNECTIONS_RECEIVED,
    CONNECTIONS_REJECTED,
    COMMANDS_PROCESSED,
    COMMANDS_PER_SECOND,
    NET_INPUT,
    NET_OUTPUT,
    KEYS_EXPIRED,
    KEYS_EVICTED,
    KEYSPACE_HITS,
    KEYSPACE_MISSES,
    REPLICAS_CONNECTED,
    REPLICATION_OFFSET,
    REPLICATION_BACKLOG_OFFSET,
    CPU_TIME,
    DATABASE_KEYS,
    DATABASE_EXPIRES,
    DATABASE_TTL,
    COMMAND_CALLS,
    COMMAND_TIME,
    COMMAND_LATENCY,
)
"""What a server says of itself, under the names that the Collector's redis receiver has for it."""

CACHE_EVICTIONS = Metric(
    "cache.evictions",
    "counter",
    "{eviction}",
    "Entries that the server dropped by itself, as its keyspace events tell.",
    (*TARGET_ATTRIBUTES, CACHE_NAME, EVICTION_REASON),
    LISTEN_EVENTS,
)

CACHE_ENTRIES = Metric(
    "cache.entries",
    "updowncounter",
    "{entry}",
    "Keys of the cache: exact, or estimated from a sample.",
    (*TARGET_ATTRIBUTES, CACHE_NAME),
    SAMPLE_MEMORY,
)
CACHE_ESTIMATED_SIZE = Metric(
    "cache.estimated_size",
    "updowncounter",
    "By",
    "Memory of the cache, as MEMORY USAGE tells it: exact, or estimated from a sample.",
    (*TARGET_ATTRIBUTES, CACHE_NAME),
    SAMPLE_MEMORY,
)
CACHE_ESTIMATED_SIZE_ERROR = Metric(
    "cache.estimated_size.error",
    "gauge",
    "By",
    "Half of the width of the 95 % interval of cache.estimated_size; 0 where all keys were seen.",
    (*TARGET_ATTRIBUTES, CACHE_NAME),
    SAMPLE_MEMORY,
)
CACHE_ENTRIES_WITHOUT_TTL = Metric(
    "cache.entries.without_ttl",
    "updowncounter",
    "{entry}",
    "Keys of the cache that never expire: exact, or estimated from a sample.",
    (*TARGET_ATTRIBUTES, CACHE_NAME),
    SAMPLE_MEMORY,
)
CACHE_SAMPLER_DURATION = Metric(
    "cache.sampler.duration",
    "histogram",
    "s",
    "Time that the sampler spent asking the server and waiting for answers, once a cycle.",
    TARGET_ATTRIBUTES,
    SAMPLE_MEMORY,
    SAMPLER_BUCKETS,
)

SERVER_METRICS: tuple[Metric, ...] = (
    *RECEIVER_METRICS,
    CACHE_EVICTIONS,
    CACHE_ENTRIES,
    CACHE_ESTIMATED_SIZE,
    CACHE_ESTIMATED_SIZE_ERROR,
    CACHE_ENTRIES_WITHOUT_TTL,
    CACHE_SAMPLER_DURATION,
)
"""About a server, made by the process that watches it."""

DEFAULT_GROUPS = ("operations", "cache", "ratio", "ttl", "loads", CONNECTIONS, "resilience")
"""What the setting ``metrics`` has on unless told otherwise."""

GROUPS = (*DEFAULT_GROUPS, "size", POOL_TIMES, "pubsub", "streams")
"""What the setting ``metrics`` switches."""

DEVIATIONS = (
    "Operation names are upper case, also where the application wrote them otherwise.",
    "`db.system.name` is `valkey` for valkey-py, which the conventions do not list yet.",
    "`db.client.operation.duration` has buckets from 0.1 ms: Redis answers below the usual 1 ms.",
    "Commands that wait for data are kept out of it, in `redis.client.blocked.duration`.",
    "`messaging.system` is `redis`, which the conventions do not list either.",
    "The query text of a batch is built after the start, and only for a span that is recording.",
)
"""Where we do otherwise than the semantic conventions, on purpose."""
