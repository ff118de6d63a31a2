"""Between services and servers: pools, waiting, retries, redirections."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units
from panels import (
    ANY_IS_BAD,
    ANY_IS_ODD,
    GREEN,
    RED,
    YELLOW,
    ask_now,
    board,
    choose,
    choose_service,
    each,
    folded,
    graph,
    number,
    query,
    row,
)
from series import OF_POOL, OF_SERVICE, POOL, in_range, label, or_zero, per_second, quantile, select

from otel_redis_cache import conventions as names


def build() -> dashboard.Dashboard:
    """Panel by panel."""
    held, most = select(names.CONNECTION_COUNT, OF_POOL), select(names.CONNECTION_MAX, OF_POOL)
    pending = select(names.CONNECTION_PENDING, OF_POOL)
    state = label(names.CONNECTION_STATE)
    local = names.LOCAL_REQUESTS
    answered_here = f'{OF_SERVICE}, {label(names.LOCAL_RESULT)}="{names.HIT}"'
    return (
        board(
            "connections",
            "Redis caches: connections",
            "Between services and servers: do calls wait for a connection, and is the way stable?",
        )
        .with_variable(choose_service(names.CONNECTION_COUNT))
        .with_variable(
            choose(
                "pool",
                "Pool",
                f"label_values({select(names.CONNECTION_COUNT, OF_SERVICE)}, {POOL})",
            )
        )
        .with_row(row("Are pools large enough?"))
        .with_panel(
            number(
                "Pool in use",
                "Is a pool near its limit? Of the process whose pool is fullest; none where no pool has a limit. At 100 % "
                "the next request waits, or is refused.",
                ask_now(f"max(pool:connections_used:ratio{{{OF_POOL}}})"),
                unit=units.PercentUnit,
                steps=((None, GREEN), (0.8, YELLOW), (1, RED)),
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Requests that wait",
                "Does anybody wait for a connection now? Above 0 for long: a larger pool, or shorter use of connections.",
                ask_now(f"sum({pending})"),
                steps=ANY_IS_ODD,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Requests without a connection",
                "Did a pool fail requests? Those that got none in time, or were refused at once, in the time shown.",
                ask_now(or_zero(in_range(names.CONNECTION_TIMEOUTS, OF_POOL))),
                steps=ANY_IS_BAD,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Opening a connection (95 %)",
                "Is it expensive to connect? With TLS and a login some ms. Much more: the server is busy, or far away.",
                ask_now(quantile(0.95, names.CONNECTION_CREATE_TIME, OF_POOL)),
                unit=units.Seconds,
            )
        )
        .with_panel(
            number(
                "Retries",
                "Is the way stable? Attempts that failed and were made again, in the time shown; the caller saw none of it.",
                ask_now(or_zero(in_range(names.RETRIES, OF_SERVICE))),
                steps=ANY_IS_ODD,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Redirections",
                "Do clients know their cluster? Answers MOVED and ASK in the time shown. Many while nothing is resharded: "
                "a client does not learn where slots are.",
                ask_now(or_zero(in_range(names.REDIRECTIONS, OF_SERVICE))),
                steps=ANY_IS_ODD,
                decimals=0,
            )
        )
        .with_panel(
            graph(
                "Connections by state",
                "How much of the pools is used? Many idle ones for long: pools are larger than they need to be.",
                query(
                    f"sum by ({POOL}, {state}) ({held})",
                    each(names.CONNECTION_STATE, names.POOL_NAME),
                ),
                query(f"sum by ({POOL}) ({most})", f"at most, {{{{{POOL}}}}}"),
            )
        )
        .with_panel(
            graph(
                "Requests that wait, and that got none",
                "When were pools too small? Waiting at the moment of each export; failed in a second.",
                query(
                    f"sum by ({POOL}) ({pending})",
                    f"wait, {{{{{POOL}}}}}",
                ),
                query(
                    per_second(names.CONNECTION_TIMEOUTS, OF_POOL, names.POOL_NAME),
                    f"failed, {{{{{POOL}}}}}",
                ),
            )
        )
        .with_panel(
            graph(
                "Waiting for a connection (95 %)",
                "Is a slow call one that waits for its pool? Only requests that found none free are here, unless the "
                "group `pool_times` is on. A dot is one request: click it to open its trace.",
                query(
                    quantile(0.95, names.CONNECTION_WAIT_TIME, OF_POOL, names.POOL_NAME),
                    each(names.POOL_NAME),
                    exemplars=True,
                ),
                unit=units.Seconds,
                nothing="nobody had to wait in this time",
            )
        )
        .with_panel(
            graph(
                "Connections opened",
                "Are connections kept? Opening all the time: somebody closes them, as a time-out of a proxy does, or "
                "clients are made for each call.",
                query(
                    per_second(
                        names.CONNECTION_CREATE_TIME, OF_POOL, names.POOL_NAME, part="count"
                    ),
                    each(names.POOL_NAME),
                ),
                unit=units.EventsPerSecond,
            )
        )
        .with_row(row("Is the way stable?"))
        .with_panel(
            graph(
                "Retries by error",
                "What fails at first? Retries hide it from callers, who only see a slower call. A class of the client "
                "library is the network.",
                query(
                    per_second(names.RETRIES, OF_SERVICE, names.ERROR_TYPE), each(names.ERROR_TYPE)
                ),
                unit=units.EventsPerSecond,
                width=8,
            )
        )
        .with_panel(
            graph(
                "Redirections by kind",
                "Does a cluster move slots? moved: the client learns a new place; ask: a slot is on its way. Only "
                "clusters have them.",
                query(
                    per_second(names.REDIRECTIONS, OF_SERVICE, names.REDIRECTION_TYPE),
                    each(names.REDIRECTION_TYPE),
                ),
                unit=units.EventsPerSecond,
                width=8,
            )
        )
        .with_panel(
            graph(
                "Commands that wait for data (95 %)",
                "How long do workers wait for work? BLPOP, XREAD with BLOCK and their like; they are in no other "
                "duration. Near their time-out: there is nothing to do.",
                query(
                    quantile(0.95, names.BLOCKED_DURATION, OF_SERVICE, names.DB_OPERATION_NAME),
                    each(names.DB_OPERATION_NAME),
                ),
                unit=units.Seconds,
                width=8,
            )
        )
        .with_row(
            folded(
                "What only some clients and settings tell",
                [
                    graph(
                        "Client-side cache",
                        "Does the cache inside of the process help? Share of reads that it answered. Needs a client with a "
                        "client-side cache.",
                        query(
                            f"{per_second(local, answered_here)} / {per_second(local, OF_SERVICE)}",
                            "answered in the process",
                        ),
                        unit=units.PercentUnit,
                        most=1,
                    ),
                    graph(
                        "Use of a connection (95 %)",
                        "Who keeps connections from others? Long use makes others wait. Needs the group `pool_times` in "
                        "the setting `metrics`.",
                        query(
                            quantile(0.95, names.CONNECTION_USE_TIME, OF_POOL, names.POOL_NAME),
                            each(names.POOL_NAME),
                            exemplars=True,
                        ),
                        unit=units.Seconds,
                    ),
                    graph(
                        "Pub/Sub messages",
                        "Do messages arrive? Published ones that nobody receives are lost. Needs the group `pubsub` in the "
                        "setting `metrics`.",
                        query(
                            per_second(names.PUBSUB_MESSAGES, OF_SERVICE, names.PUBSUB_DIRECTION),
                            each(names.PUBSUB_DIRECTION),
                        ),
                        unit=units.MessagesPerSecond,
                    ),
                    graph(
                        "Age of stream entries when read (95 %)",
                        "Do consumers keep up? An age that grows: more consumers, or faster ones. Needs the group "
                        "`streams` in the setting `metrics`.",
                        query(
                            quantile(
                                0.95,
                                names.STREAM_LAG,
                                OF_SERVICE,
                                names.MESSAGING_CONSUMER_GROUP_NAME,
                            ),
                            each(names.MESSAGING_CONSUMER_GROUP_NAME),
                        ),
                        unit=units.DurationSeconds,
                    ),
                ],
            )
        )
    )
