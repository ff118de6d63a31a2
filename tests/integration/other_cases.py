"""Cases of bitmaps, hyperloglogs, geospatial indexes, streams, vector sets, scripts and waiting."""

from __future__ import annotations

import hashlib
from collections import Counter

from tests.integration.case import (
    SCRIPT,
    error,
    fails,
    helper,
    hit,
    miss,
    ok,
    perhaps,
    probe,
    probe_fails,
    refused,
    stored,
    unwritten,
)

BITMAP = (
    ok("BITCOUNT data:string"),
    ok("BITCOUNT data:none 0 -1 BIT"),
    fails("BITCOUNT data:list"),
    ok("BITFIELD data:string SET u8 0 65", stored("kept")),
    ok("BITFIELD data:none INCRBY u8 0 1 GET u8 0", stored("kept")),
    ok("BITFIELD data:string OVERFLOW FAIL INCRBY u2 0 9", refused("kept")),
    ok("BITFIELD data:string GET u8 0"),
    ok("BITFIELD data:none GET u8 0 GET u8 8"),
    fails("BITFIELD data:list SET u8 0 65", unwritten("kept")),
    fails("BITFIELD data:list GET u8 0"),
    ok("BITFIELD_RO data:string GET u8 0"),
    fails("BITFIELD_RO data:list GET u8 0"),
    ok("BITOP AND data:new data:string data:number", stored("none")),
    ok("BITOP NOT data:list data:string", stored("none")),
    ok("BITOP OR data:list data:none", perhaps("overwrite")),
    fails("BITOP XOR data:new data:list", unwritten("none")),
    ok("BITPOS data:string 1"),
    ok("BITPOS data:none 1"),
    fails("BITPOS data:list 1"),
    ok("GETBIT data:string 1"),
    ok("GETBIT data:none 1"),
    fails("GETBIT data:list 1"),
    ok("SETBIT data:string 1 0", stored("kept")),
    ok("SETBIT data:none 1 0", stored("kept")),
    fails("SETBIT data:list 1 0", unwritten("kept")),
)

HYPERLOGLOG = (
    ok("PFADD data:loglog c", stored("kept")),
    ok("PFADD data:loglog a", stored("kept")),
    fails("PFADD data:list a", unwritten("kept")),
    ok("PFCOUNT data:loglog data:none"),
    ok("PFCOUNT data:none"),
    fails("PFCOUNT data:list"),
    ok("PFMERGE data:loglog data:none", stored("kept")),
    ok("PFMERGE data:new data:loglog", stored("kept")),
    fails("PFMERGE data:new data:list", unwritten("kept")),
)

_AROUND = tuple(
    case
    for name, place in (("GEORADIUS", "15 37"), ("GEORADIUSBYMEMBER", "a"))
    for case in (
        ok(f"{name} data:geo {place} 200 km ASC COUNT 1"),
        ok(f"{name}_RO data:geo {place} 200 km WITHDIST"),
        ok(f"{name} data:geo {place} 200 km STORE data:list", stored("none")),
        ok(f"{name} data:geo {place} 200 km STOREDIST data:new", stored("none")),
        ok(f"{name} data:none {place} 1 m STORE data:list", perhaps("overwrite")),
        fails(f"{name} data:string {place} 200 km"),
        fails(f"{name}_RO data:string {place} 200 km"),
        fails(f"{name} data:string {place} 200 km STORE data:new", unwritten("none")),
    )
)

GEO = (
    *_AROUND,
    ok("GEOADD data:geo 1 2 c", stored("kept")),
    ok("GEOADD data:geo XX CH 1 2 c", stored("kept")),
    fails("GEOADD data:string 1 2 c", unwritten("kept")),
    ok("GEODIST data:geo a b km", hit()),
    ok("GEODIST data:geo a none", miss()),
    ok("GEODIST data:none a b", miss()),
    fails("GEODIST data:string a b", error()),
    ok("GEOHASH data:geo a none b", hit(2), miss()),
    ok("GEOHASH data:none a b", miss(2)),
    fails("GEOHASH data:string a b", error(2)),
    ok("GEOPOS data:geo a none b", hit(2), miss()),
    ok("GEOPOS data:none a b", miss(2)),
    ok("GEOPOS data:geo"),
    fails("GEOPOS data:string a b", error(2)),
    ok("GEOSEARCH data:geo FROMMEMBER a BYRADIUS 200 km"),
    ok("GEOSEARCH data:none FROMLONLAT 1 2 BYRADIUS 200 km"),
    fails("GEOSEARCH data:string FROMLONLAT 1 2 BYRADIUS 200 km"),
    ok("GEOSEARCHSTORE data:list data:geo FROMMEMBER a BYRADIUS 200 km", stored("none")),
    ok("GEOSEARCHSTORE data:list data:geo FROMLONLAT 80 80 BYRADIUS 1 m", perhaps("overwrite")),
    fails(
        "GEOSEARCHSTORE data:new data:string FROMLONLAT 1 2 BYRADIUS 1 m",
        unwritten("none"),
    ),
)

_GROUP = ("XGROUP CREATE data:stream group 0",)
_PENDING = (*_GROUP, "XREADGROUP GROUP group me STREAMS data:stream >")

STREAM = (
    ok("XACK data:stream group 1-1", setup=_PENDING),
    ok("XACK data:none group 1-1"),
    fails("XACK data:string group 1-1"),
    ok("XACKDEL data:stream group KEEPREF IDS 1 1-1", setup=_PENDING),
    fails("XACKDEL data:string group IDS 1 1-1"),
    ok("XADD data:stream * f v", stored("kept")),
    ok("XADD data:stream MAXLEN ~ 10 2-* f v", stored("kept")),
    ok("XADD data:none NOMKSTREAM * f v", refused("kept")),
    fails("XADD data:string * f v", unwritten("kept")),
    ok("XAUTOCLAIM data:stream group me 0 0 COUNT 1", setup=_PENDING),
    fails("XAUTOCLAIM data:none group me 0 0"),
    ok("XCLAIM data:stream group me 0 1-1", setup=_PENDING),
    fails("XCLAIM data:none group me 0 1-1"),
    ok("XDEL data:stream 1-1 2-1"),
    fails("XDEL data:string 1-1"),
    ok("XDELEX data:stream KEEPREF IDS 1 1-1"),
    fails("XDELEX data:string IDS 1 1-1"),
    ok("XGROUP CREATE data:stream group 0"),
    ok("XGROUP CREATE data:new group $ MKSTREAM"),
    fails("XGROUP CREATE data:none group $"),
    ok("XGROUP CREATECONSUMER data:stream group you", setup=_GROUP),
    fails("XGROUP CREATECONSUMER data:stream none you"),
    ok("XGROUP DELCONSUMER data:stream group me", setup=_PENDING),
    fails("XGROUP DELCONSUMER data:stream none me"),
    ok("XGROUP DESTROY data:stream group", setup=_GROUP),
    fails("XGROUP DESTROY data:none group"),
    ok("XGROUP SETID data:stream group $", setup=_GROUP),
    fails("XGROUP SETID data:stream none $"),
    ok("XINFO CONSUMERS data:stream group", setup=_PENDING),
    fails("XINFO CONSUMERS data:stream none"),
    ok("XINFO GROUPS data:stream"),
    fails("XINFO GROUPS data:none"),
    ok("XINFO STREAM data:stream"),
    fails("XINFO STREAM data:none"),
    ok("XLEN data:stream"),
    ok("XLEN data:none"),
    fails("XLEN data:string"),
    ok("XPENDING data:stream group", setup=_PENDING),
    fails("XPENDING data:none group"),
    ok("XRANGE data:stream - + COUNT 10"),
    ok("XRANGE data:none - +"),
    fails("XRANGE data:string - +"),
    ok("XREAD COUNT 2 STREAMS data:stream data:none 0 0"),
    ok("XREAD STREAMS data:none 0"),
    ok("XREAD BLOCK 5 STREAMS data:none $"),
    ok("XREAD BLOCK 0 STREAMS data:stream 0"),
    fails("XREAD STREAMS data:string 0"),
    fails("XREAD BLOCK 5 STREAMS data:string 0"),
    ok("XREADGROUP GROUP group me STREAMS data:stream >", setup=_GROUP),
    ok("XREADGROUP GROUP group me COUNT 1 BLOCK 5 NOACK STREAMS data:stream >", setup=_PENDING),
    fails("XREADGROUP GROUP group me STREAMS data:none >"),
    ok("XREVRANGE data:stream + -"),
    fails("XREVRANGE data:string + -"),
    ok("XSETID data:stream 9-9"),
    fails("XSETID data:none 9-9"),
    ok("XTRIM data:stream MAXLEN 0"),
    ok("XTRIM data:none MAXLEN = 5"),
    fails("XTRIM data:string MAXLEN 0"),
)

_VECTORS = ("VADD data:vectors VALUES 2 1 1 a SETATTR {}", "VADD data:vectors VALUES 2 1 0 b")

VECTOR_SET = (
    ok("VADD data:vectors VALUES 2 0 1 c", stored("kept"), setup=_VECTORS),
    ok("VADD data:new VALUES 2 0 1 c", stored("kept")),
    fails("VADD data:string VALUES 2 0 1 c", unwritten("kept")),
    probe("VCARD data:vectors", hit(), setup=_VECTORS),
    probe("VCARD data:none", miss()),
    probe_fails("VCARD data:string"),
    ok("VDIM data:vectors", setup=_VECTORS),
    fails("VDIM data:none"),
    ok("VEMB data:vectors a", hit(), setup=_VECTORS),
    ok("VEMB data:vectors none", miss(), setup=_VECTORS),
    ok("VEMB data:none a", miss()),
    fails("VEMB data:string a", error()),
    ok("VGETATTR data:vectors a", hit(), setup=_VECTORS),
    ok("VGETATTR data:vectors b", miss(), setup=_VECTORS),
    ok("VGETATTR data:none a", miss()),
    fails("VGETATTR data:string a", error()),
    probe("VINFO data:vectors", hit(), setup=_VECTORS),
    probe("VINFO data:none", miss()),
    probe_fails("VINFO data:string"),
    probe("VISMEMBER data:vectors a", hit(), setup=_VECTORS),
    probe("VISMEMBER data:vectors none", miss(), setup=_VECTORS),
    probe("VISMEMBER data:none a", miss()),
    probe_fails("VISMEMBER data:string a"),
    ok("VLINKS data:vectors a", setup=_VECTORS),
    fails("VLINKS data:string a"),
    ok("VRANDMEMBER data:vectors", hit(), setup=_VECTORS),
    ok("VRANDMEMBER data:none", miss()),
    ok("VRANDMEMBER data:vectors 2", setup=_VECTORS),
    ok("VRANDMEMBER data:none 2"),
    fails("VRANDMEMBER data:string", error()),
    ok("VREM data:vectors a", setup=_VECTORS),
    ok("VREM data:none a"),
    fails("VREM data:string a"),
    ok('VSETATTR data:vectors a {"x":1}', stored("kept"), setup=_VECTORS),
    ok('VSETATTR data:vectors none {"x":1}', refused("kept"), setup=_VECTORS),
    fails("VSETATTR data:string a {}", unwritten("kept")),
    ok("VSIM data:vectors ELE a COUNT 1", setup=_VECTORS),
    ok("VSIM data:none ELE a"),
    fails("VSIM data:string ELE a"),
)

_SHA = hashlib.sha1(SCRIPT).hexdigest()
_LOADED = ("SCRIPT LOAD <script>", "FUNCTION LOAD REPLACE <library>")

SCRIPTING = tuple(
    case
    for name, body in (
        ("EVAL", "<script>"),
        ("EVAL_RO", "<script>"),
        ("EVALSHA", _SHA),
        ("EVALSHA_RO", _SHA),
        ("FCALL", "answer"),
        ("FCALL_RO", "answer"),
    )
    for case in (
        ok(f"{name} {body} 1 data:string", setup=_LOADED),
        ok(f"{name} {body} 2 data:none data:string data:number", setup=_LOADED),
        fails(f"{name} {body} 1 data:list", setup=_LOADED),
        fails(f"{name} {body} 0 data:string", setup=_LOADED),
    )
)

CONNECTION = (
    ok("WAIT 0 5"),
    ok("WAIT 1 5"),
    fails("WAIT one 5"),
    ok("WAITAOF 0 0 5"),
    fails("WAITAOF one 0 5"),
)

HELPERS = (
    helper("bitcount", "data:none", counts=Counter()),
    helper("bitop", "AND", "data:new", "data:string", counts=stored("none")),
    helper("setbit", "data:string", 1, 0, counts=stored("kept")),
    helper("pfadd", "data:loglog", "a", counts=stored("kept")),
    helper("pfcount", "data:none", counts=Counter()),
    helper("pfmerge", "data:new", "data:loglog", counts=stored("kept")),
    helper("geoadd", "data:geo", [1, 2, "c"], counts=stored("kept")),
    helper("geodist", "data:geo", "a", "none", counts=miss()),
    helper("geohash", "data:geo", "a", "none", counts=hit() + miss()),
    helper("geopos", "data:geo", "none", "a", counts=hit() + miss()),
    helper("geosearch", "data:geo", member="a", radius=1, counts=Counter()),
    helper("georadius", "data:geo", 15, 37, 200, "km", store="data:list", counts=stored("none")),
    helper(
        "geosearchstore",
        "data:list",
        "data:geo",
        longitude=80,
        latitude=80,
        radius=1,
        counts=perhaps("overwrite"),
    ),
    helper("xadd", "data:stream", {"f": "v"}, maxlen=10, counts=stored("kept")),
    helper("xadd", "data:none", {"f": "v"}, nomkstream=True, counts=refused("kept")),
    helper("xread", {"data:stream": 0, "data:none": 0}, block=5, counts=Counter()),
    helper("xrange", "data:none", counts=Counter()),
    helper("xtrim", "data:stream", 0, counts=Counter()),
    helper("eval", "return redis.call('GET', KEYS[1])", 1, "data:none", counts=Counter()),
    helper("wait", 0, 5, counts=Counter()),
)

CASES = {
    "bitmap": BITMAP,
    "hyperloglog": HYPERLOGLOG,
    "geo": GEO,
    "stream": STREAM,
    "vector_set": VECTOR_SET,
    "scripting": SCRIPTING,
    "connection": CONNECTION,
}
