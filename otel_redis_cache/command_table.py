"""What each command means to a cache, as rows of data.

Facts are those of Redis 8.2 and Valkey 9.1, checked against real servers by
``tests/integration/test_command_table.py``; see the `command reference
<https://redis.io/docs/latest/commands/>`_. A row whose command no server at hand knows is listed
in :data:`UNVERIFIED`. A command without a row, or with a bare one, is a span and a duration: what
its reply means is never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence

from otel_redis_cache import lookups, removals, writes
from otel_redis_cache.facts import Operands, Positions, Read, Removal, Rule, Write, no_keys
from otel_redis_cache.operands import after_pairs, sort_destination, whole, word

# Which operands are keys.


def first(_: Operands) -> Sequence[int]:
    """The first operand."""
    return _FIRST


def first_two(_: Operands) -> Sequence[int]:
    """The first and the second operand."""
    return _FIRST_TWO


def every(operands: Operands) -> Sequence[int]:
    """All operands."""
    return range(len(operands))


def every_second(operands: Operands) -> Sequence[int]:
    """The first, third, fifth ... operand: keys before values."""
    return range(0, len(operands), 2)


def all_but_last(operands: Operands) -> Sequence[int]:
    """All operands but the last, which is a timeout."""
    return range(max(len(operands) - 1, 0))


def numkeys_first(operands: Operands) -> Sequence[int]:
    """``numkeys key ...``."""
    return range(1, 1 + whole(operands[0])) if operands else ()


def numkeys_second(operands: Operands) -> Sequence[int]:
    """``timeout numkeys key ...``."""
    return range(2, 2 + whole(operands[1])) if len(operands) > 1 else ()


def numkeys_pairs(operands: Operands) -> Sequence[int]:
    """``numkeys key value ...``."""
    return range(1, after_pairs(operands), 2)


def destination_and_numkeys(operands: Operands) -> Sequence[int]:
    """``destination numkeys key ...``."""
    return (0, *numkeys_second(operands))


def migrated(operands: Operands) -> Sequence[int]:
    """``host port key db timeout``, or an empty key and ``KEYS key ...`` at the end."""
    if len(operands) > 2 and operands[2] not in ("", b""):
        return (2,)
    for position in range(5, len(operands)):
        if word(operands[position]) == "KEYS":
            return range(position + 1, len(operands))
    return ()


def sorted_keys(operands: Operands) -> Sequence[int]:
    """The key after STORE, which is the one that is written, and the key."""
    return (*sort_destination(operands), 0)


_FIRST = (0,)
_FIRST_TWO = (0, 1)


def _row(
    name: str,
    positions: Positions = first,
    *,
    read: Read | None = None,
    removal: Removal | None = None,
    write: Write | None = None,
    words: str = "",
    words_from: int = 1,
    leading: bool = False,
    blocking: bool = False,
    sets_ttl: bool = False,
) -> Rule:
    shown = frozenset(words.split())
    return Rule(
        name,
        "",
        positions,
        read,
        removal,
        write,
        shown,
        words_from,
        leading,
        blocking,
        sets_ttl,
    )


_TTL = "EX PX EXAT PXAT"
_CONDITION = "NX XX GT LT"
_RANGE = "BYSCORE BYLEX REV LIMIT WITHSCORES"

STRING = (
    _row("APPEND", write=writes.UPDATED),
    _row("DECR", write=writes.UPDATED),
    _row("DECRBY", write=writes.UPDATED),
    _row("DELEX", removal=removals.DELETED_IF_EQUAL, words="IFEQ IFNE IFDEQ IFDNE", leading=True),
    _row("DELIFEQ", removal=removals.DELETED_IF_EQUAL),
    _row("DIGEST", read=lookups.ONE_VALUE),
    _row("GET", read=lookups.ONE_VALUE),
    _row("GETDEL", read=lookups.ONE_VALUE, removal=removals.VALUE_TAKEN),
    _row("GETEX", read=lookups.ONE_VALUE, removal=removals.GETEX_PAST, words=_TTL + " PERSIST"),
    _row("GETRANGE"),
    _row("GETSET", read=lookups.ONE_VALUE, write=writes.SET_WITHOUT_TTL),
    _row("INCR", write=writes.UPDATED),
    _row("INCRBY", write=writes.UPDATED),
    _row("INCRBYFLOAT", write=writes.UPDATED),
    _row("INCREX", write=writes.UPDATED, words=_TTL + " PERSIST ENX"),
    _row("LCS", first_two, words="LEN IDX MINMATCHLEN WITHMATCHLEN", words_from=2),
    _row("MGET", every, read=lookups.EACH_KEY),
    _row("MSET", every_second, write=writes.SET_WITHOUT_TTL),
    _row("MSETEX", numkeys_pairs, removal=removals.MSETEX_PAST, write=writes.PAIRS_SET),
    _row("MSETNX", every_second, write=writes.SET_IF_NEW),
    _row("PSETEX", write=writes.SET_WITH_TTL),
    _row(
        "SET",
        read=lookups.SET_GET,
        removal=removals.SET_PAST,
        write=writes.SET,
        words=_TTL + " NX XX GET KEEPTTL IFEQ IFNE IFDEQ IFDNE",
        words_from=2,
    ),
    _row("SETEX", write=writes.SET_WITH_TTL),
    _row("SETNX", write=writes.SET_IF_NEW),
    _row("SETRANGE", write=writes.UPDATED),
    _row("STRLEN"),
    _row("SUBSTR"),
)

GENERIC = (
    _row("CLUSTERSCAN", no_keys),
    _row("COPY", first_two, write=writes.COPIED_TO_SECOND, words="DB REPLACE", words_from=2),
    _row("DEL", every, removal=removals.KEYS_DELETED),
    _row("DUMP", read=lookups.ONE_VALUE),
    _row("EXISTS", every, read=lookups.PROBE_KEYS),
    _row(
        "EXPIRE",
        removal=removals.expiry(1, absolute=False),
        words=_CONDITION,
        words_from=2,
        sets_ttl=True,
    ),
    _row(
        "EXPIREAT",
        removal=removals.expiry(1, absolute=True),
        words=_CONDITION,
        words_from=2,
        sets_ttl=True,
    ),
    _row("EXPIRETIME", read=lookups.PROBE_TTL),
    _row("KEYS", no_keys),
    _row("MEMORY USAGE", read=lookups.PROBE_VALUE, words="SAMPLES"),
    _row("MIGRATE", migrated, removal=removals.MIGRATED),
    _row("MOVE"),
    _row("OBJECT ENCODING", read=lookups.PROBE_VALUE),
    _row("OBJECT FREQ", read=lookups.PROBE_VALUE),
    _row("OBJECT IDLETIME", read=lookups.PROBE_VALUE),
    _row("OBJECT REFCOUNT", read=lookups.PROBE_VALUE),
    _row("PERSIST"),
    _row(
        "PEXPIRE",
        removal=removals.expiry(1, absolute=False),
        words=_CONDITION,
        words_from=2,
        sets_ttl=True,
    ),
    _row(
        "PEXPIREAT",
        removal=removals.expiry(1000, absolute=True),
        words=_CONDITION,
        words_from=2,
        sets_ttl=True,
    ),
    _row("PEXPIRETIME", read=lookups.PROBE_TTL),
    _row("PTTL", read=lookups.PROBE_TTL),
    _row("RANDOMKEY", no_keys),
    _row("RENAME", first_two, removal=removals.RENAMED),
    _row("RENAMENX", first_two, removal=removals.RENAMED),
    _row(
        "RESTORE",
        removal=removals.RESTORE_PAST,
        write=writes.RESTORED,
        words="REPLACE ABSTTL IDLETIME FREQ",
        words_from=3,
    ),
    _row("RESTORE-ASKING"),
    _row("SCAN", no_keys, words="MATCH COUNT TYPE"),
    _row(
        "SORT",
        sorted_keys,
        removal=removals.EMPTIED,
        write=writes.SORTED,
        words="BY LIMIT GET ASC DESC ALPHA STORE",
    ),
    _row("SORT_RO", words="BY LIMIT GET ASC DESC ALPHA"),
    _row("TOUCH", every, read=lookups.PROBE_KEYS),
    _row("TTL", read=lookups.PROBE_TTL),
    _row("TYPE", read=lookups.PROBE_TYPE),
    _row("UNLINK", every, removal=removals.KEYS_DELETED),
)

HASH = (
    _row("HDEL", removal=removals.FIELDS_DELETED),
    _row("HEXISTS", read=lookups.PROBE_COUNT),
    _row(
        "HEXPIRE",
        removal=removals.field_expiry(1, absolute=False),
        words=_CONDITION + " FIELDS",
        words_from=2,
    ),
    _row(
        "HEXPIREAT",
        removal=removals.field_expiry(1, absolute=True),
        words=_CONDITION + " FIELDS",
        words_from=2,
    ),
    _row("HEXPIRETIME", read=lookups.PROBE_FIELDS, words="FIELDS", leading=True),
    _row("HGET", read=lookups.ONE_VALUE),
    _row("HGETALL", read=lookups.WHOLE),
    _row(
        "HGETDEL",
        read=lookups.NAMED_FIELDS,
        removal=removals.FIELDS_TAKEN,
        words="FIELDS",
        leading=True,
    ),
    _row(
        "HGETEX",
        read=lookups.NAMED_FIELDS,
        removal=removals.HGETEX_PAST,
        words=_TTL + " PERSIST FIELDS",
    ),
    _row("HIMPORT SET"),
    _row("HINCRBY", write=writes.UPDATED),
    _row("HINCRBYFLOAT", write=writes.UPDATED),
    _row("HKEYS", read=lookups.WHOLE),
    _row("HLEN", read=lookups.PROBE_COUNT),
    _row("HMGET", read=lookups.EACH_FIELD),
    _row("HMSET", write=writes.UPDATED),
    _row("HPERSIST", words="FIELDS", leading=True),
    _row(
        "HPEXPIRE",
        removal=removals.field_expiry(1, absolute=False),
        words=_CONDITION + " FIELDS",
        words_from=2,
    ),
    _row(
        "HPEXPIREAT",
        removal=removals.field_expiry(1000, absolute=True),
        words=_CONDITION + " FIELDS",
        words_from=2,
    ),
    _row("HPEXPIRETIME", read=lookups.PROBE_FIELDS, words="FIELDS", leading=True),
    _row("HPTTL", read=lookups.PROBE_FIELDS, words="FIELDS", leading=True),
    _row("HRANDFIELD", read=lookups.RANDOM_MEMBER, words="WITHVALUES", words_from=2),
    _row("HSCAN", words="MATCH COUNT NOVALUES", words_from=2),
    _row("HSET", write=writes.UPDATED),
    _row(
        "HSETEX",
        removal=removals.HSETEX_PAST,
        write=writes.FIELDS_SET_WITH_TTL,
        words=_TTL + " FNX FXX NX XX KEEPTTL FIELDS",
    ),
    _row("HSETNX", write=writes.UPDATED_IF_TRUE),
    _row("HSTRLEN"),
    _row("HTTL", read=lookups.PROBE_FIELDS, words="FIELDS", leading=True),
    _row("HVALS", read=lookups.WHOLE),
)

SET = (
    _row("SADD", write=writes.UPDATED),
    _row("SCARD", read=lookups.PROBE_COUNT),
    _row("SDIFF", every),
    _row("SDIFFCARD", numkeys_first),
    _row("SDIFFSTORE", every, removal=removals.EMPTIED, write=writes.STORED_TO_FIRST),
    _row("SINTER", every),
    _row("SINTERCARD", numkeys_first),
    _row("SINTERSTORE", every, removal=removals.EMPTIED, write=writes.STORED_TO_FIRST),
    _row("SISMEMBER", read=lookups.PROBE_COUNT),
    _row("SMEMBERS", read=lookups.WHOLE),
    _row("SMISMEMBER", read=lookups.PROBE_MEMBERS),
    _row("SMOVE", first_two, write=writes.MOVED_TO_SECOND),
    _row("SPOP"),
    _row("SRANDMEMBER", read=lookups.RANDOM_MEMBER),
    _row("SREM"),
    _row("SSCAN", words="MATCH COUNT", words_from=2),
    _row("SUNION", every),
    _row("SUNIONCARD", numkeys_first),
    _row("SUNIONSTORE", every, removal=removals.EMPTIED, write=writes.STORED_TO_FIRST),
)

_WHOLE_BY_RANK = lookups.whole_range(("0", "-1", ""))
_WHOLE_SORTED_SET = lookups.whole_range(
    ("0", "-1", ""),
    ("0", "-1", "REV"),
    ("-INF", "+INF", "BYSCORE"),
    ("+INF", "-INF", "BYSCORE REV"),
    ("-", "+", "BYLEX"),
    ("+", "-", "BYLEX REV"),
)

SORTED_SET = (
    _row("BZMPOP", numkeys_second, blocking=True),
    _row("BZPOPMAX", all_but_last, blocking=True),
    _row("BZPOPMIN", all_but_last, blocking=True),
    _row("ZADD", write=writes.UPDATED_IF_ANY, words="NX XX GT LT CH INCR", leading=True),
    _row("ZCARD", read=lookups.PROBE_COUNT),
    _row("ZCOUNT"),
    _row("ZDIFF", numkeys_first),
    _row(
        "ZDIFFSTORE",
        destination_and_numkeys,
        removal=removals.EMPTIED,
        write=writes.STORED_TO_FIRST,
    ),
    _row("ZINCRBY", write=writes.UPDATED),
    _row("ZINTER", numkeys_first),
    _row("ZINTERCARD", numkeys_first),
    _row(
        "ZINTERSTORE",
        destination_and_numkeys,
        removal=removals.EMPTIED,
        write=writes.STORED_TO_FIRST,
    ),
    _row("ZLEXCOUNT"),
    _row("ZMPOP", numkeys_first),
    _row("ZMSCORE", read=lookups.EACH_FIELD),
    _row("ZPOPMAX"),
    _row("ZPOPMIN"),
    _row("ZRANDMEMBER", read=lookups.RANDOM_MEMBER, words="WITHSCORES", words_from=2),
    _row("ZRANGE", read=_WHOLE_SORTED_SET, words=_RANGE, words_from=3),
    _row("ZRANGEBYLEX", read=lookups.whole_range(("-", "+", "")), words="LIMIT", words_from=3),
    _row(
        "ZRANGEBYSCORE",
        read=lookups.whole_range(("-INF", "+INF", "")),
        words="LIMIT WITHSCORES",
        words_from=3,
    ),
    _row(
        "ZRANGESTORE",
        first_two,
        removal=removals.EMPTIED,
        write=writes.STORED_TO_FIRST,
        words=_RANGE,
        words_from=4,
    ),
    _row("ZRANK", read=lookups.ONE_VALUE, words="WITHSCORE", words_from=2),
    _row("ZREM"),
    _row("ZREMRANGEBYLEX"),
    _row("ZREMRANGEBYRANK"),
    _row("ZREMRANGEBYSCORE"),
    _row("ZREVRANGE", read=_WHOLE_BY_RANK, words="WITHSCORES", words_from=3),
    _row("ZREVRANGEBYLEX", read=lookups.whole_range(("+", "-", "")), words="LIMIT", words_from=3),
    _row(
        "ZREVRANGEBYSCORE",
        read=lookups.whole_range(("+INF", "-INF", "")),
        words="LIMIT WITHSCORES",
        words_from=3,
    ),
    _row("ZREVRANK", read=lookups.ONE_VALUE, words="WITHSCORE", words_from=2),
    _row("ZSCAN", words="MATCH COUNT", words_from=2),
    _row("ZSCORE", read=lookups.ONE_VALUE),
    _row("ZUNION", numkeys_first),
    _row(
        "ZUNIONSTORE",
        destination_and_numkeys,
        removal=removals.EMPTIED,
        write=writes.STORED_TO_FIRST,
    ),
)

LIST = (
    _row(
        "BLMOVE",
        first_two,
        write=writes.MOVED_TO_SECOND,
        blocking=True,
        words="LEFT RIGHT",
        words_from=2,
    ),
    _row("BLMOVEM", first_two, blocking=True),
    _row("BLMPOP", numkeys_second, blocking=True),
    _row("BLPOP", all_but_last, blocking=True),
    _row("BRPOP", all_but_last, blocking=True),
    _row("BRPOPLPUSH", first_two, write=writes.MOVED_TO_SECOND, blocking=True),
    _row("LINDEX", read=lookups.ONE_VALUE),
    _row("LINSERT", write=writes.UPDATED_IF_POSITIVE, words="BEFORE AFTER", leading=True),
    _row("LLEN", read=lookups.PROBE_COUNT),
    _row("LMOVE", first_two, write=writes.MOVED_TO_SECOND, words="LEFT RIGHT", words_from=2),
    _row("LMOVEM", first_two),
    _row("LMPOP", numkeys_first),
    _row("LPOP"),
    _row("LPOS", words="RANK COUNT MAXLEN", words_from=2),
    _row("LPUSH", write=writes.UPDATED),
    _row("LPUSHX", write=writes.UPDATED_IF_POSITIVE),
    _row("LRANGE", read=_WHOLE_BY_RANK),
    _row("LREM"),
    _row("LSET", write=writes.UPDATED),
    _row("LTRIM"),
    _row("RPOP"),
    _row("RPOPLPUSH", first_two, write=writes.MOVED_TO_SECOND),
    _row("RPUSH", write=writes.UPDATED),
    _row("RPUSHX", write=writes.UPDATED_IF_POSITIVE),
)

FAMILIES = {
    "string": STRING,
    "generic": GENERIC,
    "hash": HASH,
    "set": SET,
    "sorted_set": SORTED_SET,
    "list": LIST,
}
"""The families whose replies are read."""

NAMED_ONLY = {
    "array": """
        ARCOUNT, ARDEL, ARDELRANGE, ARGET, ARGETRANGE, ARGREP, ARINFO, ARINSERT,
        ARLASTITEMS, ARLEN, ARMGET, ARMSET, ARNEXT, AROP, ARRING, ARSCAN, ARSEEK, ARSET
    """,
    "bitmap": """
        BITCOUNT, BITFIELD, BITFIELD_RO, BITOP, BITPOS, GETBIT, SETBIT
    """,
    "connection": """
        HIMPORT DISCARD, HIMPORT DISCARDALL, HIMPORT PREPARE, ASKING, AUTH, CLIENT CACHING,
        CLIENT CAPA, CLIENT GETNAME, CLIENT GETREDIR, CLIENT HELP, CLIENT ID,
        CLIENT IMPORT-SOURCE, CLIENT INFO, CLIENT KILL, CLIENT LIST, CLIENT NO-EVICT,
        CLIENT NO-TOUCH, CLIENT PAUSE, CLIENT REPLY, CLIENT SETINFO, CLIENT SETNAME,
        CLIENT TRACKING, CLIENT TRACKINGINFO, CLIENT UNBLOCK, CLIENT UNPAUSE, COMMAND,
        COMMAND COUNT, COMMAND DOCS, COMMAND GETKEYS, COMMAND GETKEYSANDFLAGS, COMMAND HELP,
        COMMAND INFO, COMMAND LIST, ECHO, HELLO, PING, QUIT, READONLY, READWRITE, RESET,
        SELECT, WAIT, WAITAOF
    """,
    "geo": """
        GEOADD, GEODIST, GEOHASH, GEOPOS, GEORADIUS, GEORADIUSBYMEMBER,
        GEORADIUSBYMEMBER_RO, GEORADIUS_RO, GEOSEARCH, GEOSEARCHSTORE
    """,
    "hyperloglog": """
        PFADD, PFCOUNT, PFMERGE
    """,
    "json": """
        JSON.ARRAPPEND, JSON.ARRINDEX, JSON.ARRINSERT, JSON.ARRLEN, JSON.ARRPOP,
        JSON.ARRTRIM, JSON.CLEAR, JSON.DEL, JSON.FORGET, JSON.GET, JSON.MERGE, JSON.MGET,
        JSON.MSET, JSON.NUMINCRBY, JSON.NUMMULTBY, JSON.OBJKEYS, JSON.OBJLEN, JSON.RESP,
        JSON.SET, JSON.STRAPPEND, JSON.STRLEN, JSON.TOGGLE, JSON.TYPE
    """,
    "probabilistic": """
        BF.ADD, BF.EXISTS, BF.MADD, BF.MEXISTS, CF.ADD, CF.DEL, CF.EXISTS, CF.MEXISTS,
        CMS.INCRBY, CMS.QUERY, TDIGEST.ADD, TDIGEST.QUANTILE, TOPK.ADD, TOPK.QUERY
    """,
    "pubsub": """
        PSUBSCRIBE, PUBLISH, PUBSUB CHANNELS, PUBSUB NUMPAT, PUBSUB NUMSUB,
        PUBSUB SHARDCHANNELS, PUBSUB SHARDNUMSUB, PUNSUBSCRIBE, SPUBLISH, SSUBSCRIBE,
        SUBSCRIBE, SUNSUBSCRIBE, UNSUBSCRIBE
    """,
    "scripting": """
        EVAL, EVALSHA, EVALSHA_RO, EVAL_RO, FCALL, FCALL_RO, FUNCTION DELETE, FUNCTION DUMP,
        FUNCTION FLUSH, FUNCTION HELP, FUNCTION KILL, FUNCTION LIST, FUNCTION LOAD,
        FUNCTION RESTORE, FUNCTION STATS, SCRIPT DEBUG, SCRIPT EXISTS, SCRIPT FLUSH,
        SCRIPT HELP, SCRIPT KILL, SCRIPT LOAD, SCRIPT SHOW
    """,
    "search": """
        FT.AGGREGATE, FT.ALIASADD, FT.ALIASDEL, FT.ALIASUPDATE, FT.ALTER, FT.CONFIG,
        FT.CREATE, FT.DICTADD, FT.DICTDEL, FT.DROPINDEX, FT.EXPLAIN, FT.HYBRID, FT.INFO,
        FT.PROFILE, FT.SEARCH, FT.SPELLCHECK, FT.SUGADD, FT.SUGDEL, FT.SUGGET, FT.SUGLEN,
        FT.SYNUPDATE, FT.TAGVALS, FT._LIST
    """,
    "server": """
        FLUSHALL, FLUSHDB, SWAPDB, ACL, ACL CAT, ACL DELUSER, ACL DRYRUN, ACL GENPASS,
        ACL GETUSER, ACL HELP, ACL LIST, ACL LOAD, ACL LOG, ACL SAVE, ACL SETUSER,
        ACL USERS, ACL WHOAMI, BGREWRITEAOF, BGSAVE, CLIENT, CLUSTER, CLUSTER ADDSLOTS,
        CLUSTER ADDSLOTSRANGE, CLUSTER BUMPEPOCH, CLUSTER CANCELSLOTMIGRATIONS,
        CLUSTER COUNT-FAILURE-REPORTS, CLUSTER COUNTKEYSINSLOT, CLUSTER DELSLOTS,
        CLUSTER DELSLOTSRANGE, CLUSTER FAILOVER, CLUSTER FLUSHSLOT, CLUSTER FLUSHSLOTS,
        CLUSTER FORGET, CLUSTER GETKEYSINSLOT, CLUSTER GETSLOTMIGRATIONS, CLUSTER HELP,
        CLUSTER INFO, CLUSTER KEYSLOT, CLUSTER LINKS, CLUSTER MEET, CLUSTER MIGRATESLOTS,
        CLUSTER MYID, CLUSTER MYSHARDID, CLUSTER NODES, CLUSTER REPLICAS, CLUSTER REPLICATE,
        CLUSTER RESET, CLUSTER SAVECONFIG, CLUSTER SET-CONFIG-EPOCH, CLUSTER SETSLOT,
        CLUSTER SHARDS, CLUSTER SLAVES, CLUSTER SLOT-STATS, CLUSTER SLOTS,
        CLUSTER SYNCSLOTS, COMMANDLOG, COMMANDLOG GET, COMMANDLOG HELP, COMMANDLOG LEN,
        COMMANDLOG RESET, CONFIG, CONFIG GET, CONFIG HELP, CONFIG RESETSTAT, CONFIG REWRITE,
        CONFIG SET, DBSIZE, DEBUG, FAILOVER, FUNCTION, INFO, LASTSAVE, LATENCY,
        LATENCY DOCTOR, LATENCY GRAPH, LATENCY HELP, LATENCY HISTOGRAM, LATENCY HISTORY,
        LATENCY LATEST, LATENCY RESET, LOLWUT, MEMORY, MEMORY DOCTOR, MEMORY HELP,
        MEMORY MALLOC-STATS, MEMORY PURGE, MEMORY STATS, MODULE, MODULE HELP, MODULE LIST,
        MODULE LOAD, MODULE LOADEX, MODULE UNLOAD, MONITOR, OBJECT, OBJECT HELP, PFDEBUG,
        PFSELFTEST, PSYNC, PUBSUB, PUBSUB HELP, REPLCONF, REPLICAOF, ROLE, SAVE, SCRIPT,
        SHUTDOWN, SLAVEOF, SLOWLOG, SLOWLOG GET, SLOWLOG HELP, SLOWLOG LEN, SLOWLOG RESET,
        SYNC, TIME, XGROUP, XINFO
    """,
    "stream": """
        XACK, XACKDEL, XADD, XAUTOCLAIM, XCFGSET, XCLAIM, XDEL, XDELEX, XGROUP CREATE,
        XGROUP CREATECONSUMER, XGROUP DELCONSUMER, XGROUP DESTROY, XGROUP SETID,
        XINFO CONSUMERS, XINFO GROUPS, XINFO STREAM, XLEN, XNACK, XPENDING, XRANGE, XREAD,
        XREADGROUP, XREVRANGE, XSETID, XTRIM, XGROUP HELP, XINFO HELP
    """,
    "timeseries": """
        TS.ADD, TS.ALTER, TS.CREATE, TS.CREATERULE, TS.DECRBY, TS.DEL, TS.DELETERULE,
        TS.GET, TS.INCRBY, TS.MADD, TS.MGET, TS.MRANGE, TS.MREVRANGE, TS.QUERYINDEX,
        TS.RANGE, TS.REVRANGE
    """,
    "transaction": """
        DISCARD, EXEC, MULTI, UNWATCH, WATCH
    """,
    "vector_set": """
        VADD, VCARD, VDIM, VEMB, VGETATTR, VINFO, VISMEMBER, VLINKS, VRANDMEMBER, VRANGE,
        VREM, VSETATTR, VSIM
    """,
}
"""Commands of the other families: metrics may carry their names; their replies are not read."""

UNVERIFIED = frozenset(
    {
        *("BLMOVEM", "DELEX", "DIGEST", "HIMPORT SET", "INCREX", "LMOVEM"),
        *("SDIFFCARD", "SUNIONCARD"),
    }
)
"""Rows that no server at hand knows: their rules come from documentation alone."""

PROCEDURES = frozenset({"EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"})


def rows() -> list[Rule]:
    """The whole table."""
    ruled = [rule._replace(family=family) for family, rules in FAMILIES.items() for rule in rules]
    bare = [
        Rule(name.strip(), family, procedure=name.strip() in PROCEDURES)
        for family, text in NAMED_ONLY.items()
        for name in text.split(",")
    ]
    return ruled + bare
