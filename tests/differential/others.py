"""Bitmaps, hyperloglogs, geo, streams, and the types that only some servers know."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.catalog import (
    ANY,
    GEO,
    JSON,
    LOGLOG,
    MEMBER,
    NEW,
    SERIES,
    STREAM,
    TEXT,
    VECTORS,
    Words,
    add,
    option,
    several,
    silent,
)
from tests.differential.containers import read, update
from tests.differential.step import (
    Fresh,
    Spoken,
    Step,
    Writes,
    answer,
    sorted_member,
    sorted_members,
    whole,
)

# Bitmaps and hyperloglogs.


def _bitop(operation: str, destination: str, keys: list[str]) -> Step:
    return Step(("BITOP", operation, destination, *keys), writes=Writes((destination,), "none"))


update("bitmap", "SETBIT", TEXT, st.sampled_from((("7", "1"), ("0", "0"))))
update(
    "bitmap",
    "BITFIELD",
    TEXT,
    st.sampled_from((("SET", "u8", "0", "65"), ("INCRBY", "u8", "8", "1"))),
)
silent("bitmap", "BITFIELD", TEXT, st.just(("GET", "u8", "0")))
silent("bitmap", "BITFIELD_RO", TEXT, st.just(("GET", "u8", "0")))
silent("bitmap", "GETBIT", TEXT, st.just("7"))
silent("bitmap", "BITCOUNT", TEXT)
silent("bitmap", "BITPOS", TEXT, st.just("1"))
add("bitmap", "BITOP", _bitop, st.sampled_from(("AND", "OR")), ANY, several(TEXT, 2))
update("hyperloglog", "PFADD", LOGLOG, several(NEW, 2))
update("hyperloglog", "PFMERGE", LOGLOG, several(LOGLOG, 2))
silent("hyperloglog", "PFCOUNT", several(LOGLOG, 2))


# Geo.

PLACE = st.sampled_from(("13.361389", "15.087269")).map(lambda x: (x, "38.115556"))
AROUND = ("13", "38", "900", "km")


def _geodist(key: str, first: str, second: str) -> Step:
    return Step(("GEODIST", key, first, second), reads=(sorted_members(key, first, second),))


def _of_places(name: str, key: str, members: list[str]) -> Step:
    reads = tuple(sorted_member(key, member) for member in members)
    return Step((name, key, *members), reads=reads)


def _geo_stored(words: Words, key: str, destination: str) -> Step:
    words = (words[0], key, *words[1:], "STORE", destination)
    return Step(words, writes=Writes((destination,), "none"))


def _geosearchstore(destination: str, key: str, radius: str) -> Step:
    around = ("FROMLONLAT", "13", "38", "BYRADIUS", radius, "km")
    words = ("GEOSEARCHSTORE", destination, key, *around)
    return Step(words, writes=Writes((destination,), "none"))


update("geo", "GEOADD", GEO, PLACE, MEMBER)
add("geo", "GEODIST", _geodist, GEO, MEMBER, MEMBER)
for name in ("GEOPOS", "GEOHASH"):
    add("geo", name, _of_places, st.just(name), GEO, several(MEMBER))
add("geo", "GEORADIUS", _geo_stored, st.just(("GEORADIUS", *AROUND)), GEO, ANY)
silent("geo", "GEORADIUS", GEO, st.just(AROUND))
silent("geo", "GEORADIUS_RO", GEO, st.just(AROUND))
BY_MEMBER = ("GEORADIUSBYMEMBER", "a", "900", "km")
add("geo", "GEORADIUSBYMEMBER", _geo_stored, st.just(BY_MEMBER), GEO, ANY)
silent("geo", "GEORADIUSBYMEMBER_RO", GEO, st.just(BY_MEMBER[1:]))
silent("geo", "GEOSEARCH", GEO, st.just(("FROMLONLAT", "13", "38", "BYRADIUS", "9", "km")))
add("geo", "GEOSEARCHSTORE", _geosearchstore, ANY, GEO, st.sampled_from(("900", "1")))


# Streams.

ENTRY = Fresh("{}-1")


def _xadd(key: str, condition: Words, value: Spoken) -> Step:
    needs = (whole(key),) if condition else ()
    writes = Writes((key,), needs=needs, changes=True)
    return Step(("XADD", key, *condition, ENTRY, "f", value), writes=writes)


add("stream", "XADD", _xadd, STREAM, option("NOMKSTREAM"), NEW)
silent("stream", "XLEN", STREAM)
silent("stream", "XRANGE", STREAM, st.just(("-", "+")))
silent("stream", "XREVRANGE", STREAM, st.just(("+", "-")))
silent("stream", "XREAD", st.just(("COUNT", "2", "STREAMS")), STREAM, st.just("0"))
silent("stream", "XDEL", STREAM, st.just(("0-1", "1-1")))
silent("stream", "XTRIM", STREAM, st.just(("MAXLEN", "0")))
silent("stream", "XGROUP CREATE", STREAM, st.just(("workers", "0", "MKSTREAM")))
silent("stream", "XGROUP DESTROY", STREAM, st.just("workers"))
GROUP = ("GROUP", "workers", "one", "STREAMS")
silent("stream", "XREADGROUP", st.just(GROUP), STREAM, st.just(">"))
silent("stream", "XACK", STREAM, st.just(("workers", "0-1")))
silent("stream", "XPENDING", STREAM, st.just("workers"))
silent("stream", "XINFO STREAM", STREAM)


# JSON documents: a legacy path finds one value, one that begins with $ any number of them.

ROOT, A, LEGACY, NOWHERE = "$", "$.a", ".a", "$.no"
PATHS = st.sampled_from(((), (ROOT,), (A,), (NOWHERE,)))
PATH = st.sampled_from((ROOT, A, LEGACY, NOWHERE))


def _json_get(key: str, path: tuple[str, ...]) -> Step:
    entry = answer(key, "JSON.TYPE", key, *path) if path else whole(key)
    return Step(("JSON.GET", key, *path), reads=(entry,))


def _json_mget(keys: list[str], path: str) -> Step:
    reads = tuple(answer(key, "JSON.TYPE", key, path) for key in keys)
    return Step(("JSON.MGET", *keys, path), reads=reads)


def _json_set(key: str, value: Spoken, condition: Words) -> Step:
    writes = Writes(
        (key,),
        needs=(whole(key),) if condition == ("XX",) else (),
        forbids=(whole(key),) if condition == ("NX",) else (),
    )
    return Step(("JSON.SET", key, ROOT, value, *condition), writes=writes)


def _json_del(name: str, key: str, path: tuple[str, ...]) -> Step:
    entry = answer(key, "JSON.TYPE", key, *(path or (ROOT,)))
    return Step((name, key, *path), removes=(entry,))


DOCUMENT: st.SearchStrategy[Spoken] = st.sampled_from((Fresh('{{"a":{}}}'), "[]", '{"b":[1]}'))
add("json", "JSON.GET", _json_get, JSON, PATHS)
add("json", "JSON.MGET", _json_mget, several(JSON, 3), PATH)
add("json", "JSON.SET", _json_set, JSON, DOCUMENT, option("NX", "XX"))
for name in ("JSON.DEL", "JSON.FORGET"):
    add("json", name, _json_del, st.just(name), JSON, PATHS)
silent("json", "JSON.TYPE", JSON, PATH)
silent("json", "JSON.OBJLEN", JSON, PATH)
silent("json", "JSON.ARRLEN", JSON, PATH)
silent("json", "JSON.STRLEN", JSON, PATH)


# Vector sets and time series.


def _of_element(name: str, key: str, element: str) -> Step:
    entry = answer(key, "VGETATTR", key, element)
    if name != "VGETATTR":
        entry = answer(key, "VLINKS", key, element)
    return Step((name, key, element), reads=(entry,), probes=name == "VISMEMBER")


def _ts_get(key: str) -> Step:
    return Step(("TS.GET", key), reads=(answer(key, "TS.RANGE", key, "-", "+"),))


for name in ("VEMB", "VGETATTR", "VISMEMBER"):
    add("vector set", name, _of_element, st.just(name), VECTORS, MEMBER)
read("vector set", "VRANDMEMBER", VECTORS)
read("vector set", "VCARD", VECTORS, probes=True)
update("vector set", "VADD", VECTORS, st.just(("VALUES", "2", "1.0", "2.0")), MEMBER)
silent("vector set", "VDIM", VECTORS)
silent("vector set", "VREM", VECTORS, MEMBER)
update("time series", "TS.ADD", SERIES, st.just(Fresh("{}000")), st.just("1"))
silent("time series", "TS.CREATE", SERIES)
add("time series", "TS.GET", _ts_get, SERIES)
silent("time series", "TS.RANGE", SERIES, st.just(("-", "+")))
