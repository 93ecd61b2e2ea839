"""Window table functions: shared with the streaming operator that asks DuckDB."""

from __future__ import annotations

from sqlstream.functions.constants import literal
from sqlstream.plan import nodes
from sqlstream.rendering.overs import partition_sql
from sqlstream.time_zones import window_zone
from sqlstream.types import STRING


def window_sql(node: nodes.Window, source: str, order: str | None = None, zone: str = "UTC") -> str:
    """SELECT of the input's columns, window_start, window_end, window_time; rows without a time are left out.

    zone  the session's: windows over TIMESTAMP_LTZ lie in its local time
    """
    width = len(node.input.schema)
    spec = node.spec
    columns = ", ".join([f"c{i}" for i in range(width)])
    hidden = f", {order}" if order else ""
    time = node.input.schema[node.time_column]
    zoned = time.type.kind == "TIMESTAMP_LTZ"
    local = zoned and not window_zone(node.domain, zone).is_utc
    at = f"timezone({literal(zone, STRING)}, c{node.time_column})" if local else f"c{node.time_column}"
    rows = f"SELECT *, epoch_us({at}) AS _t FROM {source} WHERE c{node.time_column} IS NOT NULL"

    def out(start: str, end: str, inner: str) -> str:
        time = f"{'make_timestamptz' if zoned else 'make_timestamp'}({end} - 1000)"
        if local:
            # A local time that never comes is the jump over it; DuckDB gives it as if clocks had not been put forward.
            name = literal(zone, STRING)
            inner = f"SELECT *, timezone({name}, make_timestamp({end} - 1000)) AS _x FROM ({inner})"
            inner = f"SELECT *, epoch_us(timezone({name}, _x)) - ({end} - 1000) AS _jump FROM ({inner})"
            time = f"_x - to_microseconds(CASE WHEN _jump = 0 THEN 0 ELSE ({end} - 1000) % _jump END)"
        return (
            f"SELECT {columns}, make_timestamp({start}) AS c{width}, make_timestamp({end}) AS c{width + 1}, "
            f"{time} AS c{width + 2}{hidden} FROM ({inner})"
        )

    def floor(step: int) -> str:
        return f"(_t - (((_t - {spec.offset}) % {step}) + {step}) % {step})"

    if spec.kind == "TUMBLE":
        return out("_s", f"(_s + {spec.size})", f"SELECT *, {floor(spec.size)} AS _s FROM ({rows})")
    if spec.kind == "HOP":
        starts = f"SELECT *, unnest(range({floor(spec.slide)}, _t - {spec.size}, -{spec.slide})) AS _s FROM ({rows})"
        return out("_s", f"(_s + {spec.size})", starts)
    if spec.kind == "CUMULATE":
        based = f"SELECT *, {floor(spec.size)} AS _s FROM ({rows})"
        first = f"_s + {spec.slide} * ((_t - _s) // {spec.slide} + 1)"
        return out(
            "_s", "_e", f"SELECT *, unnest(range({first}, _s + {spec.size} + 1, {spec.slide})) AS _e FROM ({based})"
        )
    keys = partition_sql(node.partition)
    first = f"SELECT *, CASE WHEN _t - lag(_t) OVER ({keys} ORDER BY _t) <= {spec.size} THEN 0 ELSE 1 END AS _f FROM ({rows})"
    numbered = f"SELECT *, sum(_f) OVER ({keys} ORDER BY _t RANGE UNBOUNDED PRECEDING) AS _n FROM ({first})"
    by = f"{keys}, _n" if keys else "PARTITION BY _n"
    bounded = f"SELECT *, min(_t) OVER ({by}) AS _s, max(_t) OVER ({by}) + {spec.size} AS _e FROM ({numbered})"
    return out("_s", "_e", bounded)
