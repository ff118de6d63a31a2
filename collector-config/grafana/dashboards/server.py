"""One server, or all nodes of a cluster: is it full, when will it be, and what does it do?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units
from panels import (
    ANY_IS_ODD,
    GOOD_RATIO,
    GREEN,
    RED,
    YELLOW,
    ask_now,
    board,
    choose,
    each,
    folded,
    graph,
    number,
    query,
    row,
)
from series import ADDRESS, CACHE, DATABASE, OF_SERVER, PORT, quantile, select, series

from otel_redis_cache import conventions as names
from otel_redis_cache.conventions import Metric

WATCHED = "Needs `watch_server()` or the Collector's redis receiver."
SAMPLING = "Needs `watch_server(sample_memory=True)`."
COMMANDS = f"{WATCHED} With `watch_commands`, or REDIS_COMMANDS=true."

ITS_NAME = f"{{{{{ADDRESS}}}}}:{{{{{PORT}}}}}"


def now(metric: Metric, *by: str, where: str = OF_SERVER) -> str:
    """Several may tell of one server, all the same: one of them, never their sum."""
    return f"max by ({', '.join((ADDRESS, PORT, *by))}) ({select(metric, where)})"


def speed(metric: Metric, *by: str) -> str:
    """In a second."""
    counted = f"rate({select(metric, OF_SERVER)}[$__rate_interval])"
    return f"max by ({', '.join((ADDRESS, PORT, *by))}) ({counted})"


def by_cache(metric: Metric) -> str:
    """Of all servers that are sampled."""
    return f"sum by ({CACHE}) (max by ({ADDRESS}, {PORT}, {DATABASE}, {CACHE}) ({select(metric)}))"


def build() -> dashboard.Dashboard:
    """Panel by panel."""
    hits, misses = speed(names.KEYSPACE_HITS), speed(names.KEYSPACE_MISSES)
    slowest = f'{OF_SERVER}, {names.PERCENTILE}="p99"'
    # Each minute's speed, not `increase()`: who watches next goes on from the server's total, and only the longest
    # part would count.
    evicted = f"sum_over_time(redis:keys_evicted:rate5m{{{OF_SERVER}}}[$__range])"
    return (
        board(
            "server",
            "Redis caches: one server",
            f"One server, or all nodes of a cluster: is it full, and when will it be? {WATCHED}",
        )
        .with_variable(
            choose("server", "Server", f"label_values({series(names.UPTIME)}, {ADDRESS})")
        )
        .with_variable(
            choose(
                "port",
                "Port",
                f'label_values({series(names.UPTIME)}{{{ADDRESS}=~"$server"}}, {PORT})',
            )
        )
        .with_row(row("Is it full, and when will it be?"))
        .with_panel(
            number(
                "Memory in use",
                "How full is it? Of the server that is fullest; none where no server has a limit (maxmemory). Above "
                f"80 %: a larger server, or shorter times to live, before it evicts or refuses. {WATCHED}",
                ask_now(f"max(redis:memory_utilization:ratio{{{OF_SERVER}}})"),
                unit=units.PercentUnit,
                steps=((None, GREEN), (0.8, YELLOW), (0.9, RED)),
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Full in",
                "When will it be full, if it goes on as in the last hour? Below a day: act now. none where memory does "
                f"not grow, or there is no limit. {WATCHED}",
                ask_now(f"min(redis:memory_time_to_full:seconds{{{OF_SERVER}}})"),
                unit=units.DurationSeconds,
                steps=((None, RED), (86_400, YELLOW), (604_800, GREEN)),
            )
        )
        .with_panel(
            number(
                "Growth in an hour",
                "Does it grow? By the line through the last hour; none before half an hour is known. Find the cache that "
                f"grows below. {WATCHED}",
                ask_now(f"3600 * sum(redis:memory_growth:bytes_per_second{{{OF_SERVER}}})"),
                unit=units.BytesIEC,
            )
        )
        .with_panel(
            number(
                "Evicted keys",
                "Is it too small? Keys evicted in the time shown. With a hit ratio that falls it is too small; with a "
                f"steady one all is well. {WATCHED}",
                ask_now(f"60 * sum({evicted})"),
                steps=ANY_IS_ODD,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Hit ratio of the server",
                "What do all of its clients together find? Also those that nobody observes. In the last minutes. "
                f"{WATCHED}",
                ask_now(f"sum({hits}) / (sum({hits}) + sum({misses}))"),
                unit=units.PercentUnit,
                steps=GOOD_RATIO,
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Up in all",
                "How long has it run? The one that has run for the shortest time. From `watch_server()` it goes on after "
                f"a restart; from the Collector's receiver it begins again. {WATCHED}",
                ask_now(f"min({now(names.UPTIME)})"),
                unit=units.DurationSeconds,
            )
        )
        .with_panel(
            graph(
                "Memory",
                "How near is the limit, and what is above what is used? rss far above used: fragmentation, or memory "
                f"that was in use once. A limit of 0 is none. {WATCHED}",
                query(now(names.MEMORY_USED), f"used, {ITS_NAME}"),
                query(now(names.MEMORY_RSS), f"rss, {ITS_NAME}"),
                query(now(names.MEMORY_PEAK), f"peak, {ITS_NAME}"),
                query(now(names.MAX_MEMORY), f"limit, {ITS_NAME}"),
                unit=units.BytesIEC,
            )
        )
        .with_panel(
            graph(
                "Keys that left by themselves",
                "Evicted or expired? Evictions mean that it is full. Expirations in waves mean that times to live are "
                f"the same: add jitter. {WATCHED}",
                query(speed(names.KEYS_EVICTED), f"evicted, {ITS_NAME}"),
                query(speed(names.KEYS_EXPIRED), f"expired, {ITS_NAME}"),
                unit=units.EventsPerSecond,
            )
        )
        .with_panel(
            graph(
                "Keys, and those that expire",
                f"Do keys without a time to live pile up? The two lines of a database drift apart then. {WATCHED}",
                query(
                    now(names.DATABASE_KEYS, names.DATABASE),
                    f"keys, {ITS_NAME}/{{{{db}}}}",
                ),
                query(
                    now(names.DATABASE_EXPIRES, names.DATABASE),
                    f"that expire, {ITS_NAME}/{{{{db}}}}",
                ),
            )
        )
        .with_panel(
            graph(
                "Hits and misses of the server",
                "Did misses grow when keys left? Then they left too early: a larger server, or longer times to live. "
                f"{WATCHED}",
                query(hits, f"hits, {ITS_NAME}"),
                query(misses, f"misses, {ITS_NAME}"),
                unit=units.ReadsPerSecond,
            )
        )
        .with_row(row("What does it do?"))
        .with_panel(
            graph(
                "Commands",
                f"How busy is it? One server manages some ten thousands in a second. {WATCHED}",
                query(speed(names.COMMANDS_PROCESSED), ITS_NAME),
                unit=units.OpsPerSecond,
                width=8,
            )
        )
        .with_panel(
            graph(
                "Processor",
                "Is its one thread busy? Near 1 for user and sys together: fewer or cheaper commands, or a cluster. "
                f"{WATCHED}",
                query(speed(names.CPU_TIME, names.CPU_STATE), f"{{{{state}}}}, {ITS_NAME}"),
                unit=units.PercentUnit,
                width=8,
            )
        )
        .with_panel(
            graph(
                "Network",
                f"Is it the network? Much out for few commands: values are large. {WATCHED}",
                query(speed(names.NET_INPUT), f"in, {ITS_NAME}"),
                query(speed(names.NET_OUTPUT), f"out, {ITS_NAME}"),
                unit=units.BytesPerSecondIEC,
                width=8,
            )
        )
        .with_panel(
            graph(
                "Clients",
                "Do connections leak? Clients that only grow. Blocked ones wait for data, as workers of queues do. "
                f"{WATCHED}",
                query(now(names.CLIENTS_CONNECTED), f"connected, {ITS_NAME}"),
                query(now(names.CLIENTS_BLOCKED), f"blocked, {ITS_NAME}"),
                width=8,
            )
        )
        .with_panel(
            graph(
                "Connections opened",
                "Do clients connect anew for each call? Then they do without a pool. Rejected: maxclients is reached. "
                f"{WATCHED}",
                query(speed(names.CONNECTIONS_RECEIVED), f"opened, {ITS_NAME}"),
                query(speed(names.CONNECTIONS_REJECTED), f"rejected, {ITS_NAME}"),
                unit=units.EventsPerSecond,
                width=8,
            )
        )
        .with_panel(
            graph(
                "Largest buffers of clients",
                "Does one client hold much memory? A slow subscriber or a huge reply fills its output buffer. "
                f"{WATCHED}",
                query(now(names.CLIENTS_INPUT_BUFFER), f"input, {ITS_NAME}"),
                query(now(names.CLIENTS_OUTPUT_BUFFER), f"output, {ITS_NAME}"),
                unit=units.BytesIEC,
                width=8,
            )
        )
        .with_row(row("Is it safe? Replicas and saving"))
        .with_panel(
            graph(
                "Replicas",
                f"Is there one to take over? Replicas that are connected. {WATCHED}",
                query(now(names.REPLICAS_CONNECTED), ITS_NAME),
                width=8,
            )
        )
        .with_panel(
            graph(
                "Replication",
                "Do replicas follow? Their lines stay close to the primary's. One that is further behind than the "
                f"backlog reaches begins from scratch. {WATCHED}",
                query(now(names.REPLICATION_OFFSET), f"offset, {ITS_NAME}"),
                query(now(names.REPLICATION_BACKLOG_OFFSET), f"backlog begins, {ITS_NAME}"),
                unit=units.BytesIEC,
                width=8,
            )
        )
        .with_panel(
            graph(
                "Changes not saved",
                f"How much would a crash lose? Changes since the last dump; of no matter where nothing is saved. {WATCHED}",
                query(now(names.CHANGES_NOT_SAVED), ITS_NAME),
                width=8,
            )
        )
        .with_row(
            folded(
                "Inside of the server",
                [
                    graph(
                        "Fragmentation",
                        "Does the server hold memory that it does not use? Above 1.5 for long: `activedefrag yes`, or a "
                        f"restart at a quiet time. Servers below 100 MiB are left out. {WATCHED}",
                        query(f"redis:memory_fragmentation:ratio{{{OF_SERVER}}}", ITS_NAME),
                        steps=((None, GREEN), (1.5, YELLOW)),
                        width=8,
                        nothing="no server of 100 MiB and more",
                    ),
                    graph(
                        "Standstill by the last fork",
                        "Does saving stop it? How long it stood still for its last fork, in microseconds. Above 100 "
                        f"ms: save at a replica. {WATCHED}",
                        query(now(names.LATEST_FORK), ITS_NAME),
                        unit=units.Microseconds,
                        width=8,
                    ),
                    graph(
                        "Memory of scripts",
                        f"Do applications make new scripts all the time? Then it only grows. {WATCHED}",
                        query(now(names.MEMORY_LUA), ITS_NAME),
                        unit=units.BytesIEC,
                        width=8,
                    ),
                    graph(
                        "Average time to live",
                        f"Do entries live longer than before? By the server's own rough estimate. {WATCHED}",
                        query(
                            now(names.DATABASE_TTL, names.DATABASE),
                            f"{ITS_NAME}/{{{{db}}}}",
                        ),
                        unit=units.Milliseconds,
                        width=12,
                    ),
                    graph(
                        "What sampling costs",
                        "Does watching disturb it? Time of one step of the sampler, each 15 s; it stays below 150 ms. "
                        f"{SAMPLING}",
                        query(quantile(0.95, names.CACHE_SAMPLER_DURATION, OF_SERVER), "95 %"),
                        unit=units.Seconds,
                        width=12,
                    ),
                ],
            )
        )
        .with_row(
            folded(
                "Whose memory is it? (needs watch_server with sample_memory)",
                [
                    graph(
                        "Memory by cache",
                        f"Which cache fills the servers? All that are sampled, whichever is chosen above. {SAMPLING}",
                        query(by_cache(names.CACHE_ESTIMATED_SIZE), each(names.CACHE_NAME)),
                        unit=units.BytesIEC,
                        stacked=True,
                    ),
                    graph(
                        "Entries by cache",
                        f"Which cache has how many entries? All that are sampled, whichever is chosen above. {SAMPLING}",
                        query(by_cache(names.CACHE_ENTRIES), each(names.CACHE_NAME)),
                        stacked=True,
                    ),
                ],
            )
        )
        .with_row(
            folded(
                "Which commands? (needs the setting watch_commands)",
                [
                    graph(
                        "Calls by command",
                        f"What is it asked, by all clients? {COMMANDS}",
                        query(
                            speed(names.COMMAND_CALLS, names.COMMAND), f"{{{{cmd}}}}, {ITS_NAME}"
                        ),
                        unit=units.OpsPerSecond,
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Time by command",
                        "What keeps it busy? Microseconds of each second. One command far above the others: look at how "
                        f"much it reads. {COMMANDS}",
                        query(speed(names.COMMAND_TIME, names.COMMAND), f"{{{{cmd}}}}, {ITS_NAME}"),
                        unit=units.Microseconds,
                        stacked=True,
                        width=8,
                    ),
                    graph(
                        "Slowest calls by command (99 %)",
                        "Which command is slow at the server itself? Without network and waiting, since the server "
                        f"started. {COMMANDS}",
                        query(
                            now(names.COMMAND_LATENCY, names.COMMAND, where=slowest),
                            f"{{{{cmd}}}}, {ITS_NAME}",
                        ),
                        unit=units.Seconds,
                        width=8,
                    ),
                ],
            )
        )
    )
