"""The words that the grammar keeps for itself.

Flink reserves some three hundred; here only those are that the grammar could not tell from a name. So
everything that Flink reads is read, and `SELECT value, user FROM t` besides.
"""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """Those of a text."""
    return tuple(text.split())


RESERVED = frozenset(
    words(
        """
    ALL AND ARRAY AS BETWEEN BY CASE CAST CREATE CROSS DISTINCT ELSE END ESCAPE EXCEPT EXISTS FALSE
    FETCH FOR FROM FULL GROUP GROUPING HAVING IN INNER INSERT INTERSECT INTERVAL INTO IS JOIN
    LATERAL LEFT LIKE LIMIT MATCH_RECOGNIZE NATURAL NOT NULL OFFSET ON OR ORDER OUTER OVER PARTITION
    QUALIFY RIGHT ROW SELECT SIMILAR TABLE TABLESAMPLE THEN TRUE TRY_CAST UNION UNNEST USING VALUES
    WHEN WHERE WINDOW WITH WITHIN CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME
    LOCALTIMESTAMP
    """
    )
)

# reserved, and yet what people call their columns
NAME_LIKE = frozenset(
    words("ARRAY CASE END FULL GROUP INTERVAL LEFT LIMIT OFFSET ORDER PARTITION RIGHT ROW TABLE VALUES WINDOW")
)

# reserved, and yet functions when a parenthesis follows
CALLABLE = frozenset(("LEFT", "RIGHT", "GROUPING", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"))

# functions without parentheses
BARE = frozenset(("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"))

# time units, as INTERVAL, EXTRACT, CEIL, FLOOR and TIMESTAMPADD take them
UNITS = words(
    """
    MILLENNIUM CENTURY DECADE YEAR QUARTER MONTH WEEK DAY HOUR MINUTE SECOND MILLISECOND MICROSECOND
    NANOSECOND DOW DOY ISODOW ISOYEAR EPOCH
    """
)
