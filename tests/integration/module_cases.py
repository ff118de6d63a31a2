"""Cases of what modules add: JSON, search, time series, probabilistic types."""

from __future__ import annotations

from collections import Counter

from tests.integration.case import (
    denied,
    error,
    fails,
    helper,
    hit,
    in_vain,
    miss,
    ok,
    perhaps,
    probe,
    probe_denied,
    probe_fails,
    refused,
    removed,
    stored,
    unremoved,
    unwritten,
)

_DOCUMENT = ('JSON.SET data:json $ {"n":1,"s":"x","l":[1,2],"t":true,"o":{"n":2}}',)

_DELETED = tuple(
    case
    for name in ("JSON.DEL", "JSON.FORGET")
    for case in (
        ok(f"{name} data:json", removed(), setup=_DOCUMENT),
        ok(f"{name} data:json $", removed(), setup=_DOCUMENT),
        ok(f"{name} data:json .", removed(), setup=_DOCUMENT),
        ok(f"{name} data:json $.s", removed(), setup=_DOCUMENT),
        ok(f"{name} data:json $..n", removed(2), setup=_DOCUMENT),
        ok(f"{name} data:json $.none", in_vain(), setup=_DOCUMENT),
        ok(f"{name} data:none", in_vain()),
        fails(f"{name} data:string", unremoved()),
    )
)

_AT_PATH = tuple(
    case
    for command, path, value in (
        ("JSON.ARRAPPEND", "l", "3"),
        ("JSON.ARRINSERT", "l", "0 3"),
        ("JSON.NUMINCRBY", "n", "2"),
        ("JSON.NUMMULTBY", "n", "2"),
        ("JSON.STRAPPEND", "s", '"y"'),
        ("JSON.TOGGLE", "t", ""),
    )
    for case in (
        ok(f"{command} data:json $.{path} {value}", stored("kept"), setup=_DOCUMENT),
        ok(f"{command} data:json .{path} {value}", stored("kept"), setup=_DOCUMENT),
        ok(f"{command} data:json $.none {value}", setup=_DOCUMENT),
        ok(f"{command} data:json $.o {value}", setup=_DOCUMENT),
        fails(f"{command} data:none $.{path} {value}", unwritten("kept")),
    )
)

_READ = tuple(
    case
    for command, path, value in (
        ("JSON.ARRINDEX", "l", "1"),
        ("JSON.ARRLEN", "l", ""),
        ("JSON.ARRPOP", "l", ""),
        ("JSON.ARRTRIM", "l", "0 0"),
        ("JSON.CLEAR", "l", ""),
        ("JSON.OBJKEYS", "o", ""),
        ("JSON.OBJLEN", "o", ""),
        ("JSON.RESP", "o", ""),
        ("JSON.STRLEN", "s", ""),
        ("JSON.TYPE", "s", ""),
    )
    for case in (
        ok(f"{command} data:json $.{path} {value}", setup=_DOCUMENT),
        ok(f"{command} data:json $.none {value}", setup=_DOCUMENT),
        fails(f"{command} data:string $.{path} {value}"),
    )
)

JSON = (
    *_DELETED,
    *_AT_PATH,
    *_READ,
    ok("JSON.GET data:json", hit(), setup=_DOCUMENT),
    ok("JSON.GET data:json $.n", hit(), setup=_DOCUMENT),
    ok("JSON.GET data:json .n", hit(), setup=_DOCUMENT),
    ok("JSON.GET data:json INDENT _ $.none", miss(), setup=_DOCUMENT),
    ok("JSON.GET data:json $.none $.n", hit(), setup=_DOCUMENT),
    ok("JSON.GET data:json", hit(), setup=("JSON.SET data:json $ []",)),
    ok("JSON.GET data:json $", hit(), setup=("JSON.SET data:json $ []",)),
    ok("JSON.GET data:none", miss()),
    ok("JSON.GET data:none $.n", miss()),
    fails("JSON.GET data:json .none", error(), setup=_DOCUMENT),
    fails("JSON.GET data:string", error()),
    ok('JSON.MERGE data:json $ {"n":null}', stored("kept"), setup=_DOCUMENT),
    ok("JSON.MERGE data:new $ 1", stored("kept")),
    fails("JSON.MERGE data:none $.n 1", unwritten("kept")),
    ok("JSON.MGET data:json data:none $.n", hit(), miss(), setup=_DOCUMENT),
    ok("JSON.MGET data:json data:none data:string $.none", miss(3), setup=_DOCUMENT),
    ok("JSON.MGET data:json data:json .n", hit(2), setup=_DOCUMENT),
    denied("JSON.MGET data:json data:none $", error(2)),
    ok("JSON.MSET data:json $ 1 data:new $ 2", stored("kept", 2), setup=_DOCUMENT),
    fails("JSON.MSET data:new $ 1 data:none $.n 2", unwritten("kept", 2)),
    ok("JSON.SET data:json $ 1", stored("kept"), setup=_DOCUMENT),
    ok("JSON.SET data:json $.n 2", stored("kept"), setup=_DOCUMENT),
    ok("JSON.SET data:new . 1 NX", stored("kept")),
    ok("JSON.SET data:json $ 1 NX", refused("kept"), setup=_DOCUMENT),
    ok("JSON.SET data:none $ 1 XX", refused("kept")),
    ok("JSON.SET data:json $.none.n 1", refused("kept"), setup=_DOCUMENT),
    fails("JSON.SET data:none $.n 1", unwritten("kept")),
)

_INDEX = ("FT.CREATE cases PREFIX 1 data: SCHEMA f TEXT",)
_SUGGESTIONS = ("FT.SUGADD data:words word 1",)

SEARCH = (
    ok("FT.DROPINDEX cases", setup=_INDEX),
    ok("FT.DROPINDEX cases DD", perhaps("delete", "_mixed"), setup=_INDEX),
    fails("FT.DROPINDEX none"),
    fails("FT.DROPINDEX none DD", unremoved("delete", "_mixed")),
    ok("FT.SUGADD data:words work 1", stored("kept"), setup=_SUGGESTIONS),
    fails("FT.SUGADD data:string work 1", unwritten("kept")),
    ok("FT.SUGDEL data:words word", setup=_SUGGESTIONS),
    fails("FT.SUGDEL data:string word"),
    ok("FT.SUGGET data:words wo", setup=_SUGGESTIONS),
    ok("FT.SUGGET data:none wo"),
    fails("FT.SUGGET data:string wo"),
    ok("FT.SUGLEN data:none"),
    fails("FT.SUGLEN data:string"),
)

_SERIES = ("TS.CREATE data:series", "TS.ADD data:series 1 2")
_EMPTY = ("TS.CREATE data:series",)
_RULED = (*_EMPTY, "TS.CREATE data:mean")

TIMESERIES = (
    ok("TS.ADD data:series 5 1", stored("kept"), setup=_SERIES),
    ok("TS.ADD data:new * 1", stored("kept")),
    fails("TS.ADD data:string 1 1", unwritten("kept")),
    ok("TS.ALTER data:series RETENTION 10", setup=_SERIES),
    fails("TS.ALTER data:none RETENTION 10"),
    ok("TS.CREATE data:new"),
    fails("TS.CREATE data:string"),
    ok("TS.CREATERULE data:series data:mean AGGREGATION avg 10", setup=_RULED),
    fails("TS.CREATERULE data:none data:series AGGREGATION avg 10"),
    ok("TS.DECRBY data:series 1", stored("kept"), setup=_SERIES),
    fails("TS.DECRBY data:string 1", unwritten("kept")),
    ok("TS.DEL data:series 0 9", setup=_SERIES),
    fails("TS.DEL data:none 0 9"),
    ok(
        "TS.DELETERULE data:series data:mean",
        setup=(*_RULED, "TS.CREATERULE data:series data:mean AGGREGATION avg 10"),
    ),
    fails("TS.DELETERULE data:none data:series"),
    ok("TS.GET data:series", hit(), setup=_SERIES),
    ok("TS.GET data:series", miss(), setup=_EMPTY),
    fails("TS.GET data:none", error()),
    ok("TS.INCRBY data:series 1", stored("kept"), setup=_SERIES),
    fails("TS.INCRBY data:string 1", unwritten("kept")),
    ok("TS.MADD data:series 5 1 data:series 6 1", stored("kept", 2), setup=_SERIES),
    ok("TS.MADD data:series 5 1 data:none 1 1", setup=_SERIES),
    fails("TS.MADD data:series 5", unwritten("kept")),
    ok("TS.RANGE data:series - +", setup=_SERIES),
    ok("TS.RANGE data:series - +", setup=_EMPTY),
    fails("TS.RANGE data:none - +"),
    ok("TS.REVRANGE data:series - +", setup=_SERIES),
    fails("TS.REVRANGE data:none - +"),
)

_FILTERS = ("BF.ADD data:bloom a", "CF.ADD data:cuckoo a", "TOPK.RESERVE data:top 2")
_SKETCHES = ("CMS.INITBYDIM data:sketch 10 2", "TDIGEST.CREATE data:digest")

_PROBED = tuple(
    case
    for kind, key in (("BF", "data:bloom"), ("CF", "data:cuckoo"))
    for case in (
        probe(f"{kind}.EXISTS {key} a", hit(), setup=_FILTERS),
        probe(f"{kind}.EXISTS {key} none", miss(), setup=_FILTERS),
        probe(f"{kind}.EXISTS data:none a", miss()),
        probe_fails(f"{kind}.EXISTS data:none"),
        probe(f"{kind}.MEXISTS {key} a none a", hit(2), miss(), setup=_FILTERS),
        probe(f"{kind}.MEXISTS data:none a b", miss(2)),
        probe_denied(f"{kind}.MEXISTS {key} a b", 2),
    )
)

PROBABILISTIC = (
    *_PROBED,
    ok("BF.ADD data:bloom b", stored("kept"), setup=_FILTERS),
    ok("BF.ADD data:bloom a", stored("kept"), setup=_FILTERS),
    fails("BF.ADD data:string a", unwritten("kept")),
    ok("BF.MADD data:bloom a b", stored("kept"), setup=_FILTERS),
    fails("BF.MADD data:string a b", unwritten("kept")),
    ok("CF.ADD data:cuckoo b", stored("kept"), setup=_FILTERS),
    fails("CF.ADD data:string a", unwritten("kept")),
    ok("CF.DEL data:cuckoo a", setup=_FILTERS),
    fails("CF.DEL data:none a"),
    ok("CMS.INCRBY data:sketch a 2", stored("kept"), setup=_SKETCHES),
    fails("CMS.INCRBY data:none a 2", unwritten("kept")),
    ok("CMS.QUERY data:sketch a", setup=_SKETCHES),
    fails("CMS.QUERY data:none a"),
    ok("TDIGEST.ADD data:digest 1 2", stored("kept"), setup=_SKETCHES),
    fails("TDIGEST.ADD data:none 1 2", unwritten("kept")),
    ok("TDIGEST.QUANTILE data:digest 0.5", setup=_SKETCHES),
    fails("TDIGEST.QUANTILE data:none 0.5"),
    ok("TOPK.ADD data:top a", stored("kept"), setup=_FILTERS),
    fails("TOPK.ADD data:none a", unwritten("kept")),
    probe("TOPK.QUERY data:top a none", hit(), miss(), setup=(*_FILTERS, "TOPK.ADD data:top a")),
    probe_fails("TOPK.QUERY data:none a b", 2),
)

_VALUE = {"n": 1}
_NULL = ("JSON.SET data:json $ null",)

HELPERS = (
    ("json", helper("get", "data:json", counts=hit()), _DOCUMENT),
    ("json", helper("get", "data:json", "$.n", counts=hit()), _DOCUMENT),
    ("json", helper("get", "data:json", "$.none", counts=miss()), _DOCUMENT),
    ("json", helper("get", "data:json", counts=hit()), ("JSON.SET data:json $ []",)),
    ("json", helper("get", "data:none", counts=miss()), ()),
    ("json", helper("get", "data:json", "$", counts=hit()), _NULL),
    ("json", helper("mget", ["data:json", "data:none"], "$.n", counts=hit() + miss()), _DOCUMENT),
    ("json", helper("mget", ["data:json"], "$.none", counts=miss()), _DOCUMENT),
    ("json", helper("set", "data:json", "$", _VALUE, counts=stored("kept")), _DOCUMENT),
    ("json", helper("set", "data:json", "$", _VALUE, nx=True, counts=refused("kept")), _DOCUMENT),
    ("json", helper("mset", [("data:new", "$", 1)], counts=stored("kept")), ()),
    ("json", helper("merge", "data:json", "$", _VALUE, counts=stored("kept")), _DOCUMENT),
    ("json", helper("delete", "data:json", counts=removed()), _DOCUMENT),
    ("json", helper("delete", "data:json", "$..n", counts=removed(2)), _DOCUMENT),
    ("json", helper("forget", "data:none", counts=in_vain()), ()),
    ("json", helper("numincrby", "data:json", "$.n", 2, counts=stored("kept")), _DOCUMENT),
    ("json", helper("numincrby", "data:json", "$.s", 2, counts=Counter()), _DOCUMENT),
    ("json", helper("arrappend", "data:json", "$.l", 3, counts=stored("kept")), _DOCUMENT),
    ("json", helper("toggle", "data:json", "$.s", counts=Counter()), _DOCUMENT),
    ("json", helper("strappend", "data:json", "y", "$.s", counts=stored("kept")), _DOCUMENT),
    ("json", helper("type", "data:none", counts=Counter()), ()),
    ("ts", helper("get", "data:series", counts=hit()), _SERIES),
    ("ts", helper("get", "data:series", counts=miss()), _EMPTY),
    ("ts", helper("add", "data:new", "*", 1, counts=stored("kept")), ()),
    ("ts", helper("madd", [("data:series", 5, 1)], counts=stored("kept")), _SERIES),
    ("bf", helper("exists", "data:bloom", "a", counts=hit()), _FILTERS),
    ("bf", helper("mexists", "data:bloom", "a", "none", counts=hit() + miss()), _FILTERS),
    ("bf", helper("madd", "data:bloom", "a", "b", counts=stored("kept")), _FILTERS),
    ("cf", helper("exists", "data:none", "a", counts=miss()), ()),
    ("topk", helper("query", "data:top", "none", counts=miss()), _FILTERS),
)
"""A module of the client, one of its methods, and what it needs."""

CASES = {
    "json": JSON,
    "search": SEARCH,
    "timeseries": TIMESERIES,
    "probabilistic": PROBABILISTIC,
}
