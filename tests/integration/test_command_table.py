"""The command table against real servers: what it says of a reply is what the server did."""

from __future__ import annotations

import contextlib
import json
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from redis.connection import Connection
from typing_extensions import Self

from otel_redis_cache import RedisCacheInstrumentor, command_table, commands, conventions
from tests.integration import cases, module_cases
from tests.integration.case import (
    DATA,
    LONG_AGO,
    Case,
    Counts,
    error,
    hit,
    in_vain,
    miss,
    partly,
    perhaps,
    removed,
    stored,
    unremoved,
    words,
)
from tests.real.servers import RedisServer

RULES = {rule.name: rule for rules in command_table.FAMILIES.values() for rule in rules}
COUNTERS = (
    conventions.CACHE_REQUESTS,
    conventions.CACHE_WRITES,
    conventions.CACHE_INVALIDATIONS,
    conventions.CACHE_INVALIDATION_REQUESTS,
    conventions.OWN_ERRORS,
    conventions.OVERFLOWS,
)
NEIGHBOUR = ("GET", "other:none")
"""What shares a batch with the command of a case: one miss of another cache."""
FAILING = ("GET", "other:list")
"""A neighbour that makes a batch raise, so that the client never touches the other replies."""
DENIED = ("DEL", "EXISTS", "MGET", "TOUCH", "UNLINK", "BF.MEXISTS", "CF.MEXISTS", "JSON.MGET")
SERVERS = ("valkey", "redis", "redis_8")
ONLY_ON = {
    "vector_set": ("redis_8",),
    **dict.fromkeys(("json", "search", "timeseries", "probabilistic"), ("redis_stack",)),
}
"""The servers of families that not all know."""


class Plain:
    """A connection of its own, that no instrumentation sees."""

    def __init__(self, server: RedisServer) -> None:
        text = {"decode_responses": True, "encoding_errors": "surrogateescape"}
        self._connection = Connection(host=server.host, port=server.port, **text)

    def __call__(self, *args: Any) -> Any:
        self._connection.send_command(*args)
        return self._connection.read_response()

    def all(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Many commands in one write; a failed one gives its exception."""
        sent = list(commands)
        self._connection.send_packed_command(self._connection.pack_commands(sent))
        return [self._read() for _ in sent]

    def load(self, *more: str) -> None:
        """Exactly the data of the cases, and what one case needs beside it."""
        reset = ("FLUSHALL", "CONFIG SET maxmemory-policy noeviction")
        for reply in self.all([words(text) for text in (*reset, *DATA, *more)]):
            assert not isinstance(reply, Exception), reply

    def close(self) -> None:
        self._connection.disconnect()

    def _read(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as failure:
            return failure


class Counting:
    """The instrumented process: what the exported counters went up by since the last look."""

    def __init__(self, **settings: Any) -> None:
        delta = {ObservableCounter: AggregationTemporality.DELTA}
        self._reader = InMemoryMetricReader(preferred_temporality=delta)
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self._settings = settings

    def __enter__(self) -> Self:
        tracers = TracerProvider(shutdown_on_exit=False)
        providers: dict[str, Any] = {"meter_provider": self._provider, "tracer_provider": tracers}
        RedisCacheInstrumentor().instrument(**providers, **self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        RedisCacheInstrumentor().uninstrument()
        self._provider.shutdown()

    def counts(self) -> Counts:
        data = self._reader.get_metrics_data()
        found: Counts = Counter()
        metrics = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        for metric in metrics:
            for name, attributes in _ATTRIBUTES.items():
                if metric.name == name:
                    for point in metric.data.data_points:
                        values = [str((point.attributes or {}).get(a)) for a in attributes]
                        found[(name.removeprefix("cache."), *values)] += point.value  # type: ignore[union-attr]
        return +found


_ATTRIBUTES = {
    counter.name: [a for a in counter.attributes if a not in conventions.TARGET_ATTRIBUTES]
    for counter in COUNTERS
}


class Bench:
    """A server with the cases' data, and the clients of an application."""

    def __init__(self, server: RedisServer, **options: Any) -> None:
        self.server = server
        self.plain = Plain(server)
        self.client = redis.Redis(host=server.host, port=server.port, **options)
        rows = self.plain.all(("COMMAND", "INFO", name.replace(" ", "|")) for name in RULES)
        found = {name: row[0] for name, row in zip(RULES, rows, strict=True) if row and row[0]}
        self.knows = found.keys()
        self.waits = {name for name, row in found.items() if "blocking" in row[2]}
        denied = [f"-{name.lower()}" for name in DENIED if name in self.knows]
        self.plain("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@all", *denied)
        user = {"username": "reader", "password": "any"}
        self.reader = redis.Redis(host=server.host, port=server.port, **user, **options)

    def cases_of(self, family: str) -> list[Case]:
        """The cases that this server knows."""
        return [
            case
            for case in cases.CASES[family]
            if case.command.rule.name in self.knows and case.only in ("", self.server.kind)
        ]

    def close(self) -> None:
        for connection in (self.plain, self.client, self.reader):
            connection.close()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> RedisServer:
    """A real Valkey, a real Redis, a newer one; where a test says so, one with modules."""
    running: RedisServer = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.fixture
def benches(server: RedisServer) -> Iterator[Callable[..., Bench]]:
    """Benches with clients of any options; all are closed."""
    with ExitStack() as stack:

        def bench(**options: Any) -> Bench:
            made = Bench(server, **options)
            stack.callback(made.close)
            return made

        yield bench


on_valkey = pytest.mark.parametrize("server", ["valkey"], indirect=True)
on_newer = pytest.mark.parametrize("server", ["valkey", "redis_8"], indirect=True)
protocols = pytest.mark.parametrize("protocol", [2, 3], ids=["RESP2", "RESP3"])


def on_servers(families: Iterable[str]) -> pytest.MarkDecorator:
    """Each family on every server that knows it."""
    pairs = [(name, family) for family in families for name in ONLY_ON.get(family, SERVERS)]
    return pytest.mark.parametrize(("server", "family"), pairs, indirect=["server"])


families = on_servers(cases.CASES)


def families_with(part: Callable[[Case], object]) -> pytest.MarkDecorator:
    """The families where a case has this part."""
    return on_servers(family for family, found in cases.CASES.items() if any(map(part, found)))


# Every case, in every way to send a command.


Send = Callable[[Any], object]
"""What an application does with a client, or queues in a pipeline."""


def _alone(client: redis.Redis, send: Send) -> None:
    send(client)


def _in_a_pipeline(client: redis.Redis, send: Send) -> None:
    _execute(client.pipeline(transaction=False), send, NEIGHBOUR)


def _in_a_transaction(client: redis.Redis, send: Send) -> None:
    _execute(client.pipeline(), send, NEIGHBOUR)


def _in_a_failing_pipeline(client: redis.Redis, send: Send) -> None:
    _execute(client.pipeline(transaction=False), send, FAILING)


def _in_a_failing_transaction(client: redis.Redis, send: Send) -> None:
    _execute(client.pipeline(), send, FAILING)


def _execute(pipeline: Any, send: Send, neighbour: tuple[str, str]) -> None:
    pipeline.execute_command(*NEIGHBOUR)
    send(pipeline)
    pipeline.execute_command(*neighbour)
    raises = neighbour is FAILING
    for reply in pipeline.execute(raise_on_error=raises):
        if isinstance(reply, Exception):
            raise reply


WAYS = {
    "alone": (_alone, Counter()),
    "pipeline": (_in_a_pipeline, miss(2, "other")),
    "MULTI": (_in_a_transaction, miss(2, "other")),
    "failing pipeline": (_in_a_failing_pipeline, miss(1, "other") + error(1, "other")),
    "failing MULTI": (_in_a_failing_transaction, miss(1, "other") + error(1, "other")),
}


def run(
    bench: Bench,
    way: str,
    send: Send,
    counting: Counting,
    *,
    setup: Iterable[str] = (),
    denied: bool = False,
) -> tuple[bool, Counts]:
    """Whether something failed, and what was counted."""
    bench.plain.load(*setup)
    execute, _ = WAYS[way]
    failed = False
    try:
        execute(bench.reader if denied else bench.client, send)
    except redis.RedisError:
        failed = True
    return failed, counting.counts()


def expected_of(case: Case, way: str, *, probes: bool) -> Counts:
    own = case.counts + case.probes if probes else case.counts
    if case.refused and way.endswith("MULTI"):
        return own + error(2, "other")  # the server then runs nothing of the transaction
    return own + WAYS[way][1]


def check(bench: Bench, family: str, way: str, counting: Counting, *, probes: bool = False) -> None:
    """Every case of a family, one after the other; what is wrong is said of all of them."""
    wrong = Wrong()
    tried = [case for case in bench.cases_of(family) if case.probes or not probes]
    assert tried
    for case in tried:

        def send(client: Any, args: tuple[Any, ...] = case.args) -> object:
            return client.execute_command(*args)

        failed, counted = run(bench, way, send, counting, setup=case.setup, denied=case.denied)
        wrong.compare(f"{case.text} fails", case.fails or "failing" in way, failed)
        wrong.compare(case.text, expected_of(case, way, probes=probes), counted)
    wrong.none()


class Wrong:
    """What differs, collected over many cases."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def compare(self, what: str, expected: object, seen: object) -> None:
        if expected != seen:
            self._lines.append(f"{what}: expected {expected}, saw {seen}")

    def none(self) -> None:
        assert not self._lines, "\n" + "\n".join(self._lines)


@protocols
@families
@pytest.mark.parametrize("way", WAYS)
def test_every_case_counts_what_the_table_says(
    benches: Callable[..., Bench], protocol: int, family: str, way: str
) -> None:
    with Counting() as counting:
        check(benches(protocol=protocol), family, way, counting)


@families
def test_every_case_counts_the_same_where_replies_are_decoded(
    benches: Callable[..., Bench], family: str
) -> None:
    text = {"decode_responses": True, "encoding_errors": "surrogateescape"}
    bench = benches(protocol=3, **text)
    with Counting() as counting:
        check(bench, family, "alone", counting)


@protocols
@families_with(lambda case: case.probes)
@pytest.mark.parametrize("way", WAYS)
def test_probes_are_lookups_only_when_asked_for(
    benches: Callable[..., Bench], protocol: int, family: str, way: str
) -> None:
    with Counting(count_probes=True) as counting:
        check(benches(protocol=protocol), family, way, counting, probes=True)


@pytest.mark.parametrize("server", ["redis_stack"], indirect=True)
@protocols
@pytest.mark.parametrize("way", WAYS)
def test_what_the_clients_module_methods_make_of_replies_is_understood(
    benches: Callable[..., Bench], protocol: int, way: str
) -> None:
    bench = benches(protocol=protocol)
    wrong = Wrong()
    with Counting(count_probes=True) as counting:
        for module, helper, setup in module_cases.HELPERS:
            method = operator.methodcaller(helper.method, *helper.args, **helper.options)

            def send(client: Any, module: str = module, method: Send = method) -> object:
                return method(getattr(client, module)())

            failed, counted = run(bench, way, send, counting, setup=setup)
            wrong.compare(f"{helper} fails", "failing" in way, failed)
            wrong.compare(str(helper), helper.counts + WAYS[way][1], counted)
    wrong.none()


@protocols
@pytest.mark.parametrize("decode_responses", [False, True], ids=["bytes", "text"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")
def test_what_the_clients_own_methods_make_of_replies_is_understood(
    benches: Callable[..., Bench], protocol: int, way: str, *, decode_responses: bool
) -> None:
    text = {"decode_responses": decode_responses, "encoding_errors": "surrogateescape"}
    bench = benches(protocol=protocol, **text)
    wrong, tried = Wrong(), 0
    with Counting(count_probes=True) as counting:
        for helper in (*cases.HELPERS, *cases.PROBES):
            if helper.command not in bench.knows or not hasattr(bench.client, helper.method):
                continue
            send = operator.methodcaller(helper.method, *helper.args, **helper.options)
            failed, counted = run(bench, way, send, counting)
            wrong.compare(f"{helper} fails", "failing" in way, failed)
            wrong.compare(str(helper), helper.counts + WAYS[way][1], counted)
            tried += 1
    wrong.none()
    assert tried > 80


# The server as the judge.


@families_with(lambda case: case.command.rule.removal)
def test_what_is_counted_as_removed_is_gone_from_the_server(
    benches: Callable[..., Bench], family: str
) -> None:
    bench, wrong = benches(), Wrong()
    for case in bench.cases_of(family):
        if case.fails or not any(metric == "invalidation.requests" for metric, *_ in case.counts):
            continue
        if case.command.rule.removal is None or not case.command.rule.removal.tells:
            continue
        bench.plain.load(*case.setup)
        before = entries(bench.plain, case)
        bench.plain(*case.args)
        gone = before - entries(bench.plain, case)
        counted = sum(n for (metric, *_), n in case.counts.items() if metric == "invalidations")
        wrong.compare(case.text, gone, counted)
    wrong.none()


NAMES_ONE_KEY = {"JSON.MGET", "TS.CREATERULE", "TS.DELETERULE"}
"""Of which the module declares the first key alone."""


def entries(plain: Plain, case: Case) -> int:
    """Keys that are there; for the commands of hashes, fields; for paths, what they match."""
    rule, operands = case.command
    if rule.family == "hash":
        return plain("HLEN", operands[0])
    if rule.family == "json" and len(operands) > 1 and operands[1] not in ("$", "."):
        return len(json.loads(plain("JSON.GET", *operands)))
    return sum(plain.all(("EXISTS", key) for key in set(case.command.keys)))


@families_with(lambda case: case.command.rule.write)
def test_what_a_write_does_to_the_time_to_live_is_what_the_server_did(
    benches: Callable[..., Bench], family: str
) -> None:
    bench, wrong = benches(), Wrong()
    for case in bench.cases_of(family):
        write = case.command.rule.write
        if write is None or case.fails:
            continue
        ttl = write.ttl(case.command.operands)
        wrote = any(key[0] == "writes" and key[-1] == "stored" for key in case.counts)
        bench.plain.load(*case.setup)
        bench.plain.all(("PEXPIRE", text.split()[1], 500_000) for text in (*DATA, *case.setup))
        keys = case.command.at(write.positions or case.command.rule.positions)
        was_there = bench.plain.all(("EXISTS", key) for key in keys)
        bench.plain(*case.args)
        left = bench.plain.all(("PTTL", key) for key in keys)
        for key, existed, now in zip(keys, was_there, left, strict=True):
            seen = what_became_of(existed, now)
            allowed = {"set": {"set"}, "none": {"none", "new"}, "kept": {"kept", "new"}}[ttl]
            if case.command.rule.name == "HSETEX":
                allowed = {"kept"}  # it sets the time to live of fields
            if not wrote:
                allowed = {"kept", "absent"}
            wrong.compare(f"{case.text} of {key}", True, seen in allowed or seen)
    wrong.none()


def what_became_of(existed: int, left: int) -> str:
    """Of a key that had 500 s to live, if it was there."""
    if left == -2:
        return "absent"
    if left == -1:
        return "none" if existed else "new"
    return "kept" if 490_000 <= left <= 500_000 else "set"


@families
def test_the_keys_of_a_command_are_the_servers(benches: Callable[..., Bench], family: str) -> None:
    bench, wrong = benches(), Wrong()
    for case in bench.cases_of(family):
        if case.refused and not case.denied:
            continue  # a wrong number of arguments, for which the server names no keys
        reply = bench.plain.all([("COMMAND", "GETKEYS", *case.args)])[0]
        keys = [] if isinstance(reply, Exception) else reply
        if isinstance(reply, Exception):
            assert "arguments" in str(reply), (case.text, reply)
        own = case.command.keys
        if case.command.rule.name in NAMES_ONE_KEY:
            own = own[:1]
        if case.command.rule.name == "FT.DROPINDEX":
            keys = []  # the module calls its index a key
        wrong.compare(case.text, Counter(keys), Counter(own))
    wrong.none()


def test_the_commands_that_wait_are_the_servers(bench: Bench) -> None:
    found = [case for family in cases.CASES for case in bench.cases_of(family)]
    waiting = {case.command.rule.name for case in found if case.command.blocks}
    # Of WAIT Redis 7.0 does not say so yet.
    assert waiting == {case.command.rule.name for case in found} & (bench.waits | {"WAIT"})


# The table is whole.


def test_rows_that_no_server_knows_are_marked_as_unverified(
    valkey_server: RedisServer, request: pytest.FixtureRequest
) -> None:
    """With servers missing here, more rows are unknown, and only what is known can be wrong."""
    servers = [valkey_server]
    for name in ("redis_server", "redis_8_server", "redis_stack_server"):
        with contextlib.suppress(pytest.skip.Exception):
            servers.append(request.getfixturevalue(name))
    known: set[str] = set()
    for server in servers:
        with contextlib.closing(Bench(server)) as bench:
            known |= bench.knows
    assert known.isdisjoint(command_table.UNVERIFIED)
    if len(servers) == 4:
        assert RULES.keys() - known == command_table.UNVERIFIED


# What deserves a name.


@pytest.fixture
def counting() -> Iterator[Counting]:
    with Counting() as made:
        yield made


@pytest.fixture
def bench(benches: Callable[..., Bench]) -> Bench:
    made = benches()
    made.plain.load()
    return made


Counted = Callable[..., Counts]


@pytest.fixture
def counted(bench: Bench, counting: Counting) -> Counted:
    """What commands count, sent one after the other, or in one batch."""

    def send(*commands: str, transaction: bool | None = None) -> Counts:
        if transaction is None:
            for command in commands:
                bench.client.execute_command(*words(command))
        else:
            with bench.client.pipeline(transaction=transaction) as pipeline:
                for command in commands:
                    pipeline.execute_command(*words(command))
                pipeline.execute()
        return counting.counts()

    return send


def test_mget_counts_every_key_asked_for_and_a_key_of_another_type_as_a_miss(
    counted: Counted,
) -> None:
    assert counted("MGET data:string data:string data:list data:none") == hit(2) + miss(2)


def test_mget_counts_each_key_in_its_own_cache(counted: Counted) -> None:
    seen = counted("MGET data:string other:none data:none")
    assert seen == hit() + miss() + miss(1, "other")


def test_a_key_deleted_twice_in_one_command_is_one_entry(counted: Counted, bench: Bench) -> None:
    assert bench.plain("EXISTS", "data:string") == 1
    assert counted("DEL data:string data:string") == removed(1)


def test_deleting_all_keys_of_two_caches_is_counted_for_each(counted: Counted) -> None:
    assert counted("DEL data:string data:list other:list data:list") == Counter(
        {
            ("invalidations", "data", "delete"): 2,
            ("invalidations", "other", "delete"): 1,
            ("invalidation.requests", "_mixed", "delete", "removed"): 1,
        }
    )


def test_deleting_some_keys_of_two_caches_is_mixed(counted: Counted) -> None:
    assert counted("DEL data:string data:none other:list") == partly(2, cache="_mixed")


def test_deleting_no_key_of_two_caches_is_mixed_and_in_vain(counted: Counted) -> None:
    assert counted("UNLINK data:none other:none") == in_vain(cache="_mixed")


def test_probing_two_caches_is_counted_for_each_only_where_all_or_none_are_there(
    bench: Bench,
) -> None:
    with Counting(count_probes=True) as counting:
        bench.client.execute_command("EXISTS", "data:string", "other:list")
        assert counting.counts() == hit() + hit(1, "other")
        bench.client.execute_command("EXISTS", "data:none", "other:none")
        assert counting.counts() == miss() + miss(1, "other")
        bench.client.execute_command("EXISTS", "data:string", "other:none")
        assert counting.counts() == hit(1, "_mixed") + miss(1, "_mixed")


def test_set_with_a_past_deadline_stores_nothing(counted: Counted, bench: Bench) -> None:
    assert counted(f"SET data:string w EXAT {LONG_AGO}") == perhaps("expire")
    assert bench.plain("EXISTS", "data:string") == 0


@on_valkey
def test_set_if_equal_with_get_is_not_guessed_where_the_client_dropped_the_old_value(
    counted: Counted,
) -> None:
    # Without its keyword get=True redis-py makes False of the old value.
    assert counted("SET data:string w IFEQ v GET") == hit()


def test_expire_zero_that_its_condition_refuses_removes_nothing(
    counted: Counted, bench: Bench
) -> None:
    assert counted("EXPIRE data:string 0 GT") == in_vain("expire")
    assert bench.plain("EXISTS", "data:string") == 1
    assert counted("EXPIRE data:string 0 LT") == removed(reason="expire")
    assert bench.plain("EXISTS", "data:string") == 0


def test_getex_with_a_past_deadline_reads_and_removes(counted: Counted, bench: Bench) -> None:
    assert counted(f"GETEX data:string EXAT {LONG_AGO}") == hit() + removed(reason="expire")
    assert bench.plain("EXISTS", "data:string") == 0


@on_newer
def test_hgetex_with_a_past_deadline_removes_fields(counted: Counted, bench: Bench) -> None:
    seen = counted(f"HGETEX data:hash EXAT {LONG_AGO} FIELDS 2 f none")
    assert seen == hit() + miss() + partly(1, "expire")
    assert bench.plain("HKEYS", "data:hash") == ["g"]


@on_newer
def test_hgetdel_of_a_field_named_twice_finds_it_once(counted: Counted, bench: Bench) -> None:
    assert counted("HGETDEL data:hash FIELDS 2 f f") == hit() + miss() + removed()
    assert bench.plain("HKEYS", "data:hash") == ["g"]


def test_deleting_the_last_field_is_one_entry_not_also_a_key(
    counted: Counted, bench: Bench
) -> None:
    assert counted("HDEL data:hash f g") == removed(2)
    assert bench.plain("EXISTS", "data:hash") == 0


@on_valkey
def test_a_past_deadline_for_keys_of_two_caches_is_mixed(counted: Counted, bench: Bench) -> None:
    seen = counted(f"MSETEX 2 data:string 1 other:list 2 EXAT {LONG_AGO}")
    assert seen == perhaps("expire", "_mixed")
    assert bench.plain("EXISTS", "data:string", "other:list") == 0


@on_valkey
def test_msetex_writes_every_pair(counted: Counted, bench: Bench) -> None:
    seen = counted("MSETEX 2 data:new 1 other:new 2 EX 10")
    assert seen == stored("set") + stored("set", 1, "other")
    assert 0 < bench.plain("TTL", "other:new") <= 10


@pytest.mark.parametrize("transaction", [False, True])
def test_an_expire_of_the_same_batch_gives_a_write_its_time_to_live(
    counted: Counted, *, transaction: bool
) -> None:
    batch = ("SET data:new v", "SET data:new2 v", "EXPIRE data:new 10")
    seen = counted(*batch, transaction=transaction)
    assert seen == stored("set") + stored("none")


def test_an_expire_before_the_write_or_refused_changes_nothing(counted: Counted) -> None:
    before = ("EXPIRE data:string 10", "SET data:string v")
    assert counted(*before, transaction=True) == stored("none")
    refusing = ("SET data:string v", "EXPIRE data:string 10 XX")
    assert counted(*refusing, transaction=True) == stored("none")


def test_an_expire_outside_a_batch_changes_nothing(counted: Counted) -> None:
    assert counted("SET data:new v", "EXPIRE data:new 10") == stored("none")


@pytest.mark.parametrize(
    "command",
    [
        "SINTERSTORE other:list data:set data:none",
        "ZRANGESTORE other:list data:zset 5 9",
        "SORT data:none STORE other:list",
    ],
)
def test_storing_an_empty_result_may_have_removed_the_destination(
    counted: Counted, bench: Bench, command: str
) -> None:
    assert counted(command) == perhaps("overwrite", "other")
    assert bench.plain("EXISTS", "other:list") == 0


def test_storing_a_result_is_a_write_without_time_to_live(counted: Counted) -> None:
    assert counted("SUNIONSTORE other:new data:set") == stored("none", cache="other")
    assert counted("SORT data:ints STORE other:new") == stored("none", cache="other")


def test_renaming_is_a_request_for_the_cache_of_the_source(counted: Counted) -> None:
    assert counted("RENAME data:string other:new") == perhaps("rename")
    assert counted("RENAMENX other:new other:list") == in_vain("rename", "other")


def test_only_whole_ranges_of_a_list_are_lookups(counted: Counted) -> None:
    assert counted("LRANGE data:list 0 -1", "LRANGE data:none 0 -1") == hit() + miss()
    assert counted("LRANGE data:none 0 99", "LRANGE data:list 0 2") == Counter()


def test_a_range_from_minus_one_to_zero_is_not_whole(counted: Counted) -> None:
    assert counted("LRANGE data:list -1 0", "ZRANGE data:zset -1 0") == Counter()


def test_random_fields_by_count_are_no_lookups(counted: Counted) -> None:
    assert counted("HRANDFIELD data:hash 5", "HRANDFIELD data:none 5") == Counter()


def test_an_empty_poll_of_a_blocking_read_is_no_lookup(counted: Counted) -> None:
    assert counted("BLPOP data:none 0.01", "BZPOPMIN data:none 0.01") == Counter()


def test_a_transaction_that_the_server_refused_is_an_error_for_every_lookup(
    counted: Counted, counting: Counting
) -> None:
    with pytest.raises(redis.ResponseError):
        counted("MGET data:string data:none", "HMGET data:hash f g", "GET", transaction=True)
    assert counting.counts() == error(4)


def test_a_reply_that_the_client_cannot_decode_is_an_error(
    benches: Callable[..., Bench], counting: Counting
) -> None:
    bench = benches(decode_responses=True)
    bench.plain.load()
    bench.client.set("data:new", b"\xff")
    assert counting.counts() == stored("none")
    with pytest.raises(UnicodeDecodeError):
        bench.client.get("data:new")
    assert counting.counts() == error()


@pytest.mark.parametrize(
    "args",
    [
        ("GET data:string",),
        ("get", "data:string"),
        (b"GET", b"data:string"),
        (b"get", memoryview(bytearray(b"data:string"))),
        ("Get", memoryview(b"data:string")),
        ("MGET data:string",),
        ("object encoding", "data:none"),
        ("OBJECT", "ENCODING", "data:none"),
        (b"object", b"Encoding", b"data:none"),
        ("OBJECT ENCODING data:none",),
    ],
)
def test_a_command_counts_however_it_is_written(bench: Bench, args: tuple[Any, ...]) -> None:
    with Counting(count_probes=True) as counting:
        bench.client.execute_command(*args)
        assert counting.counts() == (miss() if "none" in str(args) else hit())


def test_a_number_may_be_a_key_and_a_deadline(bench: Bench) -> None:
    with Counting(caches="numbers=*") as counting:
        bench.client.execute_command("SET", 42, 1.5, "PX", 10_000)
        assert counting.counts() == stored("set", cache="numbers")
        bench.client.execute_command("DEL", 42, "42", b"42")
        assert counting.counts() == removed(cache="numbers")


def test_migrating_may_have_removed_and_copying_has_not(
    redis_server: RedisServer, valkey_server: RedisServer, counting: Counting
) -> None:
    with (
        contextlib.closing(Bench(redis_server)) as here,
        contextlib.closing(Bench(valkey_server)) as there,
    ):
        here.plain.load()
        there.plain("FLUSHALL")
        to = (valkey_server.host, valkey_server.port)
        here.client.execute_command("MIGRATE", *to, "data:string", 0, 1000, "COPY")
        assert counting.counts() == Counter()
        keys = ("data:list", "data:none")
        here.client.execute_command("MIGRATE", *to, "", 0, 1000, "KEYS", *keys)
        assert counting.counts() == perhaps("delete")
        here.client.execute_command("MIGRATE", *to, "", 0, 1000, "KEYS", "data:set", "other:list")
        assert counting.counts() == perhaps("delete", "_mixed")
        assert there.plain("EXISTS", "data:string", "data:list") == 2
        assert here.plain("EXISTS", "data:string", "data:list") == 1


@protocols
@pytest.mark.parametrize("way", ["alone", "pipeline", "MULTI"])
def test_flushing_is_one_request_for_all_caches_with_unknown_effect(
    benches: Callable[..., Bench], counting: Counting, protocol: int, way: str
) -> None:
    bench = benches(protocol=protocol)
    for command in ("FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "flushdb SYNC"):
        send = operator.methodcaller("execute_command", *words(command))
        expected = perhaps("flush", "_mixed") + WAYS[way][1]
        assert run(bench, way, send, counting) == (False, expected)
        assert bench.plain("DBSIZE") == 0


@protocols
@pytest.mark.parametrize("way", WAYS)
def test_flushing_that_failed_is_a_failed_request(
    benches: Callable[..., Bench], counting: Counting, protocol: int, way: str
) -> None:
    bench = benches(protocol=protocol)
    for command in ("FLUSHALL", "FLUSHDB"):
        send = operator.methodcaller("execute_command", command, "NEVER")
        expected = unremoved("flush", "_mixed") + WAYS[way][1]
        assert run(bench, way, send, counting) == (True, expected)


def test_flushing_a_slot_is_one_request_with_unknown_effect(one_node_cluster: redis.Redis) -> None:
    one_node_cluster.set("data:string", "v")
    slot = one_node_cluster.execute_command("CLUSTER KEYSLOT", "data:string")
    with Counting() as counting:
        one_node_cluster.execute_command("CLUSTER FLUSHSLOT", slot)
        assert counting.counts() == perhaps("flush", "_mixed")
        with pytest.raises(redis.ResponseError):
            one_node_cluster.execute_command("CLUSTER FLUSHSLOT", "here")
        assert counting.counts() == unremoved("flush", "_mixed")
    assert one_node_cluster.exists("data:string") == 0


def test_watching_keys_counts_nothing(bench: Bench, counting: Counting) -> None:
    with bench.client.pipeline() as pipeline:
        pipeline.watch("data:string", "data:none")
        assert pipeline.get("data:string") == b"v"
        pipeline.multi()
        pipeline.execute_command("WATCH", "data:string")
        with pytest.raises(redis.ResponseError):
            pipeline.execute()
    assert counting.counts() == hit()


def test_the_keys_of_watch_are_the_servers(bench: Bench) -> None:
    command = commands.Commands().describe(("WATCH", "data:string", "data:none"))
    assert bench.plain("COMMAND", "GETKEYS", "WATCH", *command.operands) == list(command.keys)


def test_clusterscan_is_a_command_without_keys_or_counts(one_node_cluster: redis.Redis) -> None:
    one_node_cluster.set("data:string", "v")
    with Counting(count_probes=True) as counting:
        assert one_node_cluster.execute_command("CLUSTERSCAN", "0")
        with pytest.raises(redis.ResponseError):
            one_node_cluster.execute_command("CLUSTERSCAN", "here")
        assert counting.counts() == Counter()
