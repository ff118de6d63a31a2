"""What modules add: JSON, search, time series and probabilistic types.

``JSON.SET`` and ``JSON.MSET`` leave a key's time to live as it is, also where they replace the
whole document. Indexes of search are no keys; suggestion dictionaries are.
"""

from __future__ import annotations

from otel_redis_cache import lookups, removals, writes
from otel_redis_cache.command_table.row import all_but_last, every_third, first_two, row
from otel_redis_cache.facts import no_keys

_FORMAT = "INDENT NEWLINE SPACE FORMAT NOESCAPE"

JSON = (
    row("JSON.ARRAPPEND", write=writes.UPDATED_AT_PATH),
    row("JSON.ARRINDEX"),
    row("JSON.ARRINSERT", write=writes.UPDATED_AT_PATH),
    row("JSON.ARRLEN"),
    row("JSON.ARRPOP"),
    row("JSON.ARRTRIM"),
    row("JSON.CLEAR"),
    row("JSON.DEL", removal=removals.JSON_DELETED),
    row("JSON.FORGET", removal=removals.JSON_DELETED),
    row("JSON.GET", read=lookups.JSON_VALUE, words=_FORMAT),
    row("JSON.MERGE", write=writes.UPDATED),
    row("JSON.MGET", all_but_last, read=lookups.EACH_JSON_VALUE),
    row("JSON.MSET", every_third, write=writes.UPDATED),
    row("JSON.NUMINCRBY", write=writes.UPDATED_AT_PATH),
    row("JSON.NUMMULTBY", write=writes.UPDATED_AT_PATH),
    row("JSON.OBJKEYS"),
    row("JSON.OBJLEN"),
    row("JSON.RESP"),
    row("JSON.SET", write=writes.DOCUMENT_SET, words="NX XX", words_from=3),
    row("JSON.STRAPPEND", write=writes.UPDATED_AT_PATH),
    row("JSON.STRLEN"),
    row("JSON.TOGGLE", write=writes.UPDATED_AT_PATH),
    row("JSON.TYPE"),
)

SEARCH = (
    row("FT.DROPINDEX", no_keys, removal=removals.DOCUMENTS_DROPPED, words="DD"),
    row("FT.SUGADD", write=writes.UPDATED),
    row("FT.SUGDEL"),
    row("FT.SUGGET", words="FUZZY WITHSCORES WITHPAYLOADS MAX", words_from=2),
    row("FT.SUGLEN"),
)

TIMESERIES = (
    row("TS.ADD", write=writes.UPDATED),
    row("TS.ALTER"),
    row("TS.CREATE"),
    row("TS.CREATERULE", first_two),
    row("TS.DECRBY", write=writes.UPDATED),
    row("TS.DEL"),
    row("TS.DELETERULE", first_two),
    row("TS.GET", read=lookups.WHOLE),
    row("TS.INCRBY", write=writes.UPDATED),
    row("TS.MADD", every_third, write=writes.SAMPLES_ADDED),
    row("TS.RANGE"),
    row("TS.REVRANGE"),
)

PROBABILISTIC = (
    row("BF.ADD", write=writes.UPDATED),
    row("BF.EXISTS", read=lookups.PROBE_COUNT),
    row("BF.MADD", write=writes.UPDATED),
    row("BF.MEXISTS", read=lookups.PROBE_MEMBERS),
    row("CF.ADD", write=writes.UPDATED),
    row("CF.DEL"),
    row("CF.EXISTS", read=lookups.PROBE_COUNT),
    row("CF.MEXISTS", read=lookups.PROBE_MEMBERS),
    row("CMS.INCRBY", write=writes.UPDATED),
    row("CMS.QUERY"),
    row("TDIGEST.ADD", write=writes.UPDATED),
    row("TDIGEST.QUANTILE"),
    row("TOPK.ADD", write=writes.UPDATED),
    row("TOPK.QUERY", read=lookups.PROBE_MEMBERS),
)
