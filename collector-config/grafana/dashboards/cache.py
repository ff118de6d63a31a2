"""One cache: is it worth it, and if not, why?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units
from panels import (
    GOOD_RATIO,
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
from series import (
    ADDRESS,
    CACHE,
    DATABASE,
    MISS,
    OF_CACHE,
    OF_SERVICE,
    PORT,
    hit_ratio,
    hit_ratio_in_range,
    in_range,
    label,
    or_zero,
    per_second,
    quantile,
    removed_in_an_hour,
    select,
    series,
)

from otel_redis_cache import conventions as names

SAMPLING = "Needs `watch_server(sample_memory=True)`."
LISTENING = "Needs `watch_server(listen_events=True)` and keyspace events (docs/server.md)."

HELD = f'{CACHE}="$cache"'
"""A cache as servers hold it, whichever service uses it: who watches a server tells."""


def held(metric: names.Metric) -> str:
    """Of all servers. Who watches one may change: for a while two tell of it, so never their sum."""
    return f"sum(max by ({ADDRESS}, {PORT}, {DATABASE}) ({select(metric, HELD)}))"


def build() -> dashboard.Dashboard:
    """Panel by panel."""
    lookups = names.CACHE_REQUESTS
    yesterday = hit_ratio(OF_CACHE).replace("_interval]", "_interval] offset 1d")
    asked, loads = names.CACHE_INVALIDATION_REQUESTS, names.CACHE_LOAD_DURATION
    in_vain = f'{OF_CACHE}, {label(names.INVALIDATION_EFFECT)}="{names.NONE}"'
    never_expires = f'{OF_CACHE}, {label(names.CACHE_WRITE_TTL)}="{names.TTL_NONE}"'
    size, error = held(names.CACHE_ESTIMATED_SIZE), held(names.CACHE_ESTIMATED_SIZE_ERROR)
    return (
        board("cache", "Redis caches: one cache", "One cache: is it worth it, and if not, why?")
        .with_variable(choose_service(lookups))
        .with_variable(
            choose(
                "cache",
                "Cache",
                f"label_values({series(lookups)}{{{OF_SERVICE}}}, {CACHE})",
                several=False,
            )
        )
        .with_row(row("Is it worth it?"))
        .with_panel(
            number(
                "Hit ratio",
                "Is the cache worth it? Hits of all hits and misses in the time shown. Good is above 70 %.",
                ask_now(hit_ratio_in_range(OF_CACHE)),
                unit=units.PercentUnit,
                steps=GOOD_RATIO,
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Time saved",
                "What is it worth? Hits, each as long as a miss took to be loaded, in the time shown.",
                ask_now(
                    f"sum(avg_over_time(cache:time_saved:rate5m{{{OF_CACHE}}}[$__range])) * $__range_s"
                ),
                unit=units.DurationSeconds,
            )
        )
        .with_panel(
            number(
                "Misses not written back",
                "Is a miss followed by a write? Share of misses in the time shown that no write of the same process "
                "followed. Much: what is looked up does not exist (remember that too), or loads fail.",
                ask_now(
                    f"clamp_min(1 - {in_range(loads, OF_CACHE, part='count')}"
                    f" / {in_range(lookups, f'{OF_CACHE}, {MISS}')}, 0)"
                ),
                unit=units.PercentUnit,
                steps=((None, GREEN), (0.5, YELLOW)),
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Stampedes",
                "Do several callers load the same entry at once? How often in the time shown. Many: a lock around the "
                "load, or times to live that differ (jitter).",
                ask_now(or_zero(in_range(names.CACHE_STAMPEDES, OF_CACHE))),
                steps=((None, GREEN), (1, YELLOW), (100, RED)),
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Removals in vain",
                "Do patterns and keys of removals fit? Share of removals in the time shown that found nothing.",
                ask_now(f"{or_zero(in_range(asked, in_vain))} / {in_range(asked, OF_CACHE)}"),
                unit=units.PercentUnit,
                steps=((None, GREEN), (0.5, YELLOW)),
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Writes without a time to live",
                "Does it leak? Share of entries written in the time shown that never expire. They stay until they are "
                "removed or evicted.",
                ask_now(
                    f"{or_zero(in_range(names.CACHE_WRITES, never_expires))}"
                    f" / {in_range(names.CACHE_WRITES, OF_CACHE)}"
                ),
                unit=units.PercentUnit,
                steps=((None, GREEN), (0.01, YELLOW)),
                decimals=1,
            )
        )
        .with_panel(
            graph(
                "Hit ratio, and a day ago",
                "Has it dropped? Compare with the same time of yesterday, then look below for what was removed, "
                "evicted or expired just before. Yesterday's line begins a day after the first lookup.",
                query(hit_ratio(OF_CACHE), "now"),
                query(yesterday, "a day ago"),
                unit=units.PercentUnit,
                most=1,
                steps=GOOD_RATIO,
            )
        )
        .with_panel(
            graph(
                "Lookups by result",
                "Is it used, and what comes of it? Misses that grow while lookups do not: entries are gone. Errors: "
                "see the overview for which.",
                query(
                    per_second(lookups, OF_CACHE, names.CACHE_REQUEST_TYPE),
                    each(names.CACHE_REQUEST_TYPE),
                ),
                unit=units.RequestsPerSecond,
                stacked=True,
            )
        )
        .with_row(row("What does a miss cost?"))
        .with_panel(
            graph(
                "From a miss to its write",
                "How slow is what the cache stands before? Slower loads with the same hit ratio: look at the database "
                "or service behind it. A dot is one load: click it to open its trace.",
                *(
                    query(quantile(share, loads, OF_CACHE), name, exemplars=ask)
                    for share, name, ask in ((0.5, "half of them", False), (0.95, "95 %", True))
                ),
                unit=units.Seconds,
            )
        )
        .with_panel(
            graph(
                "Stampedes over time",
                "Do stampedes follow removals and expirations? Where they do, load once and let the others wait.",
                query(per_second(names.CACHE_STAMPEDES, OF_CACHE), "stampedes"),
                unit=units.EventsPerSecond,
            )
        )
        .with_row(row("What is removed, and was that wanted?"))
        .with_panel(
            graph(
                "Entries removed, by reason",
                "Is there a storm, and who makes it? Entries in the hour before. Reasons are those "
                "given to invalidate(); delete and expire are plain commands.",
                query(removed_in_an_hour(OF_CACHE), each(names.INVALIDATION_REASON)),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Removals by effect",
                "Do removals find what they look for? none: keys or patterns are wrong; partial and error: some "
                "entries are stale now; unknown: the command does not tell, as FLUSHDB.",
                query(
                    per_second(
                        names.CACHE_INVALIDATION_REQUESTS, OF_CACHE, names.INVALIDATION_EFFECT
                    ),
                    each(names.INVALIDATION_EFFECT),
                ),
                unit=units.RequestsPerSecond,
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Entries of one removal",
                "Are patterns too broad? Entries that one removal took, on average, by reason. Above 100: a narrower "
                "pattern keeps what is still good.",
                query(
                    f"{per_second(names.CACHE_INVALIDATIONS, OF_CACHE, names.INVALIDATION_REASON)}"
                    f" / ({per_second(names.CACHE_INVALIDATION_REQUESTS, OF_CACHE, names.INVALIDATION_REASON)} > 0)",
                    each(names.INVALIDATION_REASON),
                ),
                steps=((None, GREEN), (100, YELLOW)),
            )
        )
        .with_panel(
            graph(
                "Duration of invalidate() (95 %)",
                "How long does a removal by pattern take? It looks at every key of the database. A dot is one call: "
                "click it to open its trace, which shows who called.",
                query(
                    quantile(
                        0.95,
                        names.CACHE_INVALIDATION_DURATION,
                        OF_CACHE,
                        names.INVALIDATION_REASON,
                    ),
                    each(names.INVALIDATION_REASON),
                    exemplars=True,
                ),
                unit=units.Seconds,
                nothing="invalidate() was not called for this cache in this time",
            )
        )
        .with_row(row("How long do entries live?"))
        .with_panel(
            graph(
                "Entries written, by time to live",
                "Does every entry get a time to live? none: it never expires; kept: an update in place.",
                query(
                    per_second(names.CACHE_WRITES, OF_CACHE, names.CACHE_WRITE_TTL),
                    each(names.CACHE_WRITE_TTL),
                ),
                unit=units.WritesPerSecond,
                stacked=True,
                width=8,
            )
        )
        .with_panel(
            graph(
                "Times to live",
                "Do all expire together? Where the tenth and the half are the same, entries written together expire "
                "together, in a wave of misses: add some jitter.",
                *(
                    query(quantile(share, names.CACHE_TTLS, OF_CACHE), name)
                    for share, name in ((0.1, "10 %"), (0.5, "half of them"), (0.9, "90 %"))
                ),
                unit=units.DurationSeconds,
                width=8,
                nothing="no entry was given a time to live in this time",
            )
        )
        .with_panel(
            graph(
                "Writes by result",
                "Are writes lost? refused: SET with NX or XX that did not apply; error: the server did not take it.",
                query(
                    per_second(names.CACHE_WRITES, OF_CACHE, names.CACHE_WRITE_RESULT),
                    each(names.CACHE_WRITE_RESULT),
                ),
                unit=units.WritesPerSecond,
                width=8,
            )
        )
        .with_row(
            folded(
                "What the server says of it (needs watch_server)",
                [
                    graph(
                        "Entries dropped by the server",
                        "Are entries gone before they are read? evicted: the server is full; expired: their time was "
                        f"up; misses that follow say that it was too short. {LISTENING}",
                        query(
                            per_second(names.CACHE_EVICTIONS, HELD, names.EVICTION_REASON),
                            each(names.EVICTION_REASON),
                        ),
                        unit=units.EventsPerSecond,
                        width=8,
                    ),
                    graph(
                        "Entries",
                        "How many are there, and how many stay forever? Entries without a time to live that only grow "
                        f"are a leak. {SAMPLING}",
                        query(held(names.CACHE_ENTRIES), "entries"),
                        query(held(names.CACHE_ENTRIES_WITHOUT_TTL), "without a time to live"),
                        width=8,
                    ),
                    graph(
                        "Memory",
                        "How much of the server is this cache? Estimated from a sample, with the limits that hold in 95 "
                        f"of 100 cases. {SAMPLING}",
                        query(size, "estimated"),
                        query(f"{size} + {error}", "at most"),
                        query(f"clamp_min({size} - {error}, 0)", "at least"),
                        unit=units.BytesIEC,
                        width=8,
                    ),
                ],
            )
        )
        .with_row(
            folded(
                "What only some settings tell",
                [
                    graph(
                        "Size of values",
                        "Are values too large? Above 100 KiB they slow down everybody: split or compress them. Needs the "
                        "group `size` in the setting `metrics`.",
                        *(
                            query(
                                quantile(
                                    share,
                                    names.CACHE_ITEM_SIZES,
                                    OF_CACHE,
                                    names.CACHE_IO_DIRECTION,
                                ),
                                f"{name}, {{{{{label(names.CACHE_IO_DIRECTION)}}}}}",
                            )
                            for share, name in ((0.5, "half of them"), (0.95, "95 %"))
                        ),
                        unit=units.BytesIEC,
                    ),
                    graph(
                        "Duration of calls to this cache (95 %)",
                        "Is this cache slow, while others are not? Then its values are large. Needs the setting "
                        "`duration_by_cache`.",
                        query(
                            quantile(
                                0.95, names.OPERATION_DURATION, OF_CACHE, names.DB_OPERATION_NAME
                            ),
                            each(names.DB_OPERATION_NAME),
                            exemplars=True,
                        ),
                        unit=units.Seconds,
                    ),
                ],
            )
        )
    )
