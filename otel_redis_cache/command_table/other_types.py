"""Bitmaps, hyperloglogs, geospatial indexes, streams, and the newer arrays and vector sets."""

from __future__ import annotations

from otel_redis_cache import lookups, removals, writes
from otel_redis_cache.command_table.row import (
    all_but_first,
    every,
    first_two,
    row,
    stored_and_first,
    streams,
    with_block,
)

BITMAP = (
    row("BITCOUNT", words="BYTE BIT", words_from=3),
    row(
        "BITFIELD",
        write=writes.UPDATED_BITS,
        words="GET SET INCRBY OVERFLOW WRAP SAT FAIL",
    ),
    row("BITFIELD_RO", words="GET"),
    row(
        "BITOP",
        all_but_first,
        removal=removals.EMPTIED,
        write=writes.STORED_TO_SECOND,
        words="AND OR XOR NOT DIFF DIFF1 ANDOR ONE",
        words_from=0,
        leading=True,
    ),
    row("BITPOS", words="BYTE BIT", words_from=4),
    row("GETBIT"),
    row("SETBIT", write=writes.UPDATED),
)

HYPERLOGLOG = (
    row("PFADD", write=writes.UPDATED),
    row("PFCOUNT", every),
    row("PFMERGE", every, write=writes.UPDATED_FIRST),
)

_FOUND_AT = "COUNT ANY ASC DESC WITHCOORD WITHDIST WITHHASH"
_SEARCHED = "FROMMEMBER FROMLONLAT BYRADIUS BYBOX BYPOLYGON COUNT ANY ASC DESC"

GEO = (
    row("GEOADD", write=writes.UPDATED, words="NX XX CH", leading=True),
    row("GEODIST", read=lookups.ONE_FACT, words="M KM FT MI", words_from=3),
    row("GEOHASH", read=lookups.EACH_MEMBER),
    row("GEOPOS", read=lookups.EACH_MEMBER),
    row(
        "GEORADIUS",
        stored_and_first(5),
        removal=removals.EMPTIED,
        write=writes.stored_if_asked(5),
        words=_FOUND_AT + " STORE STOREDIST",
        words_from=5,
    ),
    row(
        "GEORADIUSBYMEMBER",
        stored_and_first(4),
        removal=removals.EMPTIED,
        write=writes.stored_if_asked(4),
        words=_FOUND_AT + " STORE STOREDIST",
        words_from=4,
    ),
    row("GEORADIUSBYMEMBER_RO", words=_FOUND_AT, words_from=4),
    row("GEORADIUS_RO", words=_FOUND_AT, words_from=5),
    row("GEOSEARCH", words=_SEARCHED + " WITHCOORD WITHDIST WITHHASH"),
    row(
        "GEOSEARCHSTORE",
        first_two,
        removal=removals.EMPTIED,
        write=writes.STORED_TO_FIRST,
        words=_SEARCHED + " STOREDIST",
        words_from=2,
    ),
)

STREAM = (
    row("XACK"),
    row("XACKDEL", words="KEEPREF DELREF ACKED IDS", words_from=2),
    row(
        "XADD",
        write=writes.UPDATED_IF_ANY,
        words="NOMKSTREAM KEEPREF DELREF ACKED MAXLEN MINID",
        leading=True,
    ),
    row("XAUTOCLAIM", words="COUNT JUSTID", words_from=5),
    row("XCFGSET"),
    row("XCLAIM", words="IDLE TIME RETRYCOUNT FORCE JUSTID LASTID", words_from=4),
    row("XDEL"),
    row("XDELEX", words="KEEPREF DELREF ACKED IDS"),
    row("XGROUP CREATE", words="MKSTREAM ENTRIESREAD", words_from=3),
    row("XGROUP CREATECONSUMER"),
    row("XGROUP DELCONSUMER"),
    row("XGROUP DESTROY"),
    row("XGROUP SETID", words="ENTRIESREAD", words_from=3),
    row("XINFO CONSUMERS"),
    row("XINFO GROUPS"),
    row("XINFO STREAM", words="FULL COUNT"),
    row("XLEN"),
    row("XNACK"),
    row("XPENDING", words="IDLE", words_from=2),
    row("XRANGE", words="COUNT", words_from=3),
    row("XREAD", streams, blocking=with_block, words="COUNT BLOCK STREAMS", words_from=0),
    row(
        "XREADGROUP",
        streams,
        blocking=with_block,
        words="GROUP COUNT BLOCK NOACK CLAIM STREAMS",
        words_from=0,
    ),
    row("XREVRANGE", words="COUNT", words_from=3),
    row("XSETID", words="ENTRIESADDED MAXDELETEDID", words_from=2),
    row("XTRIM", words="MAXLEN MINID LIMIT KEEPREF DELREF ACKED"),
)

ARRAY = (
    row("ARCOUNT"),
    row("ARDEL"),
    row("ARDELRANGE"),
    row("ARGET", read=lookups.ONE_FACT),
    row("ARGETRANGE"),
    row("ARGREP"),
    row("ARINFO"),
    row("ARINSERT", write=writes.UPDATED),
    row("ARLASTITEMS"),
    row("ARLEN"),
    row("ARMGET", read=lookups.EACH_MEMBER),
    row("ARMSET", write=writes.UPDATED),
    row("ARNEXT"),
    row("AROP"),
    row("ARRING"),
    row("ARSCAN"),
    row("ARSEEK"),
    row("ARSET", write=writes.UPDATED),
)

VECTOR_SET = (
    row("VADD", write=writes.UPDATED, words="REDUCE FP32 VALUES", leading=True),
    row("VCARD", read=lookups.PROBE_COUNT),
    row("VDIM"),
    row("VEMB", read=lookups.ONE_FACT, words="RAW", words_from=2),
    row("VGETATTR", read=lookups.ONE_FACT),
    row("VINFO", read=lookups.PROBE_VALUE),
    row("VISMEMBER", read=lookups.PROBE_COUNT),
    row("VLINKS", words="WITHSCORES", words_from=2),
    row("VRANDMEMBER", read=lookups.RANDOM_MEMBER),
    row("VRANGE"),
    row("VREM"),
    row("VSETATTR", write=writes.UPDATED_IF_TRUE),
    row("VSIM", words="FP32 VALUES ELE", leading=True),
)
