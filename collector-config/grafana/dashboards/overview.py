"""All services and caches: is anything wrong, and where?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units
from panels import (
    ANY_IS_BAD,
    ANY_IS_ODD,
    GOOD_RATIO,
    GREEN,
    RED,
    YELLOW,
    ask_now,
    board,
    choose_service,
    each,
    graph,
    listing,
    number,
    query,
    row,
    states,
)
from series import (
    ADDRESS,
    CACHE,
    FAILED,
    OF_SERVICE,
    PORT,
    SERVICE,
    hit_ratio,
    hit_ratio_in_range,
    in_range,
    mean,
    or_zero,
    per_second,
    quantile,
    removed_in_an_hour,
    select,
)

from otel_redis_cache import conventions as names

ALERTS = 'ALERTS{alertname=~"Cache.*|Redis.*", alertstate="firing"}'


def build() -> dashboard.Dashboard:
    """Panel by panel."""
    operations = per_second(names.OPERATION_DURATION, OF_SERVICE, part="count")
    failed = per_second(names.OPERATION_DURATION, f"{OF_SERVICE}, {FAILED}", part="count")
    by_server = (names.SERVER_ADDRESS, names.SERVER_PORT)
    outages, outage_seconds = (
        per_second(names.OUTAGE_DURATION, OF_SERVICE, *by_server, part=part)
        for part in ("count", "sum")
    )
    up = f"min by ({ADDRESS}, {PORT}) ({select(names.CLIENT_UP, OF_SERVICE)})"
    processes = select(names.OPERATION_DURATION, OF_SERVICE, "count")
    return (
        board("overview", "Redis caches: overview", "All services: is anything wrong, and where?")
        .with_variable(choose_service(names.OPERATION_DURATION))
        .with_row(row("Is anything wrong?"))
        .with_panel(
            number(
                "Alerts",
                "Does an alert fire? The list of alerts in Prometheus says which, and each one has a page that says "
                "what to do.",
                ask_now(or_zero(f"count({ALERTS})")),
                steps=ANY_IS_BAD,
            )
        )
        .with_panel(
            number(
                "Hit ratio",
                "Is the cache worth it? Hits of all hits and misses in the time shown. Good is above 70 %. "
                "Below 50 %: find the cache in the list below, and open it.",
                ask_now(hit_ratio_in_range(OF_SERVICE)),
                unit=units.PercentUnit,
                steps=GOOD_RATIO,
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Time saved by the cache",
                "What is the cache worth? Hits, each as long as a miss of its cache took to be loaded, in the "
                "time shown. Misses that are not written back tell of no loads.",
                ask_now(
                    "sum(avg_over_time(service:time_saved:rate5m"
                    f"{{{OF_SERVICE}}}[$__range])) * $__range_s"
                ),
                unit=units.DurationSeconds,
            )
        )
        .with_panel(
            number(
                "Servers that do not answer",
                "Is there an outage now? Servers, as the services know them, to which calls fail on the network. "
                "Above 0: see below since when, then look at that server.",
                ask_now(or_zero(f"count({up} == 0)")),
                steps=ANY_IS_BAD,
            )
        )
        .with_panel(
            number(
                "Failed calls",
                "Do calls fail? Share of all calls in the last minutes. Above 1 %: see below which error it is.",
                ask_now(f"{or_zero(failed)} / {operations}"),
                unit=units.PercentUnit,
                steps=((None, GREEN), (0.001, YELLOW), (0.01, RED)),
                decimals=2,
            )
        )
        .with_panel(
            number(
                "Requests without a connection",
                "Are pools too small? Requests that got no connection in time, in the time shown. Above 0: open "
                "the dashboard of connections.",
                ask_now(or_zero(in_range(names.CONNECTION_TIMEOUTS, OF_SERVICE))),
                steps=ANY_IS_BAD,
                decimals=0,
            )
        )
        .with_row(row("Which cache?"))
        .with_panel(
            graph(
                "Hit ratio by cache",
                "Has one dropped, and when? A silent drop is money. Open that cache and look at what was removed, "
                "evicted or expired just before.",
                query(hit_ratio(OF_SERVICE, names.CACHE_NAME), each(names.CACHE_NAME)),
                unit=units.PercentUnit,
                most=1,
                steps=GOOD_RATIO,
            )
        )
        .with_panel(
            graph(
                "Lookups by cache",
                "Who is asked, and did that change? A ratio of few lookups says little.",
                query(
                    per_second(names.CACHE_REQUESTS, OF_SERVICE, names.CACHE_NAME),
                    each(names.CACHE_NAME),
                ),
                unit=units.RequestsPerSecond,
                stacked=True,
            )
        )
        .with_panel(
            listing(
                "Caches",
                "Which cache deserves a look? In the time shown; sort by a heading, open a cache by its name.",
                CACHE,
                [
                    (
                        "lookups",
                        units.Short,
                        in_range(names.CACHE_REQUESTS, OF_SERVICE, names.CACHE_NAME),
                    ),
                    (
                        "hit ratio",
                        units.PercentUnit,
                        hit_ratio_in_range(OF_SERVICE, names.CACHE_NAME),
                    ),
                    (
                        "entries written",
                        units.Short,
                        in_range(names.CACHE_WRITES, OF_SERVICE, names.CACHE_NAME),
                    ),
                    (
                        "entries removed",
                        units.Short,
                        in_range(names.CACHE_INVALIDATIONS, OF_SERVICE, names.CACHE_NAME),
                    ),
                    (
                        "a load takes",
                        units.Seconds,
                        mean(names.CACHE_LOAD_DURATION, OF_SERVICE, names.CACHE_NAME),
                    ),
                ],
                link="/d/redis-cache?${datasource:queryparam}&${service:queryparam}&var-cache=${__value.raw}"
                "&${__url_time_range}",
            )
        )
        .with_row(row("What is slow?"))
        .with_panel(
            graph(
                "Duration of calls",
                "Are calls slow for all? Below 10 ms is what Redis should take as its clients see it. A dot is one "
                "call: click it to open its trace, which shows what it waited for.",
                *(
                    query(
                        quantile(share, names.OPERATION_DURATION, OF_SERVICE), name, exemplars=ask
                    )
                    for share, name, ask in (
                        (0.5, "half of them", False),
                        (0.95, "95 %", False),
                        (0.99, "99 %", True),
                    )
                ),
                unit=units.Seconds,
                steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
            )
        )
        .with_panel(
            graph(
                "Duration by operation (95 %)",
                "Which operation is slow? One alone: look at how much it reads. All of them: look at the server, "
                "and at the pools.",
                query(
                    quantile(0.95, names.OPERATION_DURATION, OF_SERVICE, names.DB_OPERATION_NAME),
                    each(names.DB_OPERATION_NAME),
                    exemplars=True,
                ),
                unit=units.Seconds,
            )
        )
        .with_panel(
            graph(
                "Calls by operation",
                "What do services ask for? A pipeline or transaction is one call.",
                query(
                    per_second(
                        names.OPERATION_DURATION, OF_SERVICE, names.DB_OPERATION_NAME, part="count"
                    ),
                    each(names.DB_OPERATION_NAME),
                ),
                unit=units.OpsPerSecond,
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Failed calls by error",
                "What is it: down, slow, full or not allowed? A class (redis.exceptions.…) is the network or the client, "
                "a word in capitals an answer of the server: OOM is full, READONLY a replica, LOADING a start.",
                query(
                    per_second(
                        names.OPERATION_DURATION,
                        f"{OF_SERVICE}, {FAILED}",
                        names.ERROR_TYPE,
                        part="count",
                    ),
                    each(names.ERROR_TYPE),
                ),
                unit=units.OpsPerSecond,
                stacked=True,
            )
        )
        .with_row(row("What is removed, and was that wanted?"))
        .with_panel(
            graph(
                "Entries removed, by reason",
                "Is there a storm of invalidations, and who makes it? Entries in the hour before. Much more than "
                "yesterday: find who gives that reason, in the traces of `cache.invalidate`.",
                query(removed_in_an_hour(OF_SERVICE), each(names.INVALIDATION_REASON)),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Stampedes by cache",
                "Does a removal or an expiration send many callers to the database at once? In a second.",
                query(
                    per_second(names.CACHE_STAMPEDES, OF_SERVICE, names.CACHE_NAME),
                    each(names.CACHE_NAME),
                ),
                unit=units.EventsPerSecond,
            )
        )
        .with_row(row("When was a server away, and did it come back?"))
        .with_panel(
            states(
                "Servers as the services see them",
                "When did an outage begin, and when did it end? Down where one process of those shown cannot reach it.",
                query(up, each(*by_server)),
            )
        )
        .with_panel(
            graph(
                "Outages that are over",
                "How long were they? The average of those that ended in the last minutes, by server.",
                query(f"{outage_seconds} / ({outages} > 0)", each(*by_server)),
                unit=units.DurationSeconds,
            )
        )
        .with_row(row("Can these numbers be trusted?"))
        .with_panel(
            number(
                "Processes that report",
                "Is anybody missing? Processes whose telemetry arrives; fewer than run means that some do not export.",
                ask_now(f"count(count by ({SERVICE}, instance) ({processes}))"),
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Faults of the instrumentation",
                "Is the telemetry complete? Faults of otel_redis_cache itself that it contained, in the time shown; its "
                "log says what they are.",
                ask_now(or_zero(in_range(names.OWN_ERRORS, OF_SERVICE))),
                steps=ANY_IS_ODD,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Folded into _other",
                "Are there too many names? What was counted without its own name because a bound was reached, in the "
                "time shown. Above 0: give rules for caches, and fewer reasons.",
                ask_now(or_zero(in_range(names.OVERFLOWS, OF_SERVICE))),
                steps=ANY_IS_ODD,
                decimals=0,
            )
        )
    )
