"""The features of streaming SQL, each with what shows that a test has it. docs/coverage.md is made of this.

A pattern is searched in the queries of `sql/*.slt`, in their statements, and in the columns of their inputs, with spaces
made single. `files`: tests of another kind, that have the pattern in their text. `missing`: what is said instead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import slt

TESTS = Path(__file__).parent.parent
FOUR = "batch, streaming, parallel, restored"


@dataclass(frozen=True)
class Feature:
    """`pattern`: a regular expression, whatever the case. `files`: below tests/. `changing`: over a table whose rows change."""

    name: str
    pattern: str = ""
    files: tuple[str, ...] = ()
    missing: str = ""
    changing: bool = False


def f(name: str, pattern: str, *files: str) -> Feature:
    return Feature(name, pattern, files)


def changing(name: str, pattern: str) -> Feature:
    return Feature(name, pattern, changing=True)


def missing(name: str, why: str = "refused") -> Feature:
    return Feature(name, missing=why)


FEATURES: dict[str, tuple[Feature, ...]] = {
    "Windows": (
        f("TUMBLE", r"TUMBLE\(TABLE"),
        f("HOP", r"HOP\(TABLE"),
        f("CUMULATE", r"CUMULATE\(TABLE"),
        f("SESSION with PARTITION BY", r"SESSION\(TABLE \w+ PARTITION BY"),
        f("SESSION of all rows; its rows", r"SESSION\(TABLE \w+, DESCRIPTOR"),
        f("named arguments", r"DATA => TABLE"),
        f("offset", r"(?:INTERVAL '[^']*' \w+(?:\(\d\))?, ){2}INTERVAL|TUMBLE\(TABLE \w+, DESCRIPTOR\(\w+\), INTERVAL '[^']*' \w+, INTERVAL"),
        f("window_start, window_end", r"window_start, window_end"),
        f("window_time, cascading windows", r"window_time"),
        f("processing time", r"DESCRIPTOR\((?:pt|proctime|p)\)|PROCTIME\(\)"),
        f("TIMESTAMP_LTZ", r"\w+ TIMESTAMP_LTZ\(3\), WATERMARK FOR"),
        f("over a view", r"CREATE (?:TEMPORARY )?VIEW \w+ AS .*(?:TUMBLE|HOP|SESSION)\("),
        f("GROUP BY TUMBLE, HOP, SESSION (the older form)", r"GROUP BY (?:\w+, )*(?:TUMBLE|HOP|SESSION)\(\w+, INTERVAL"),
        f("TUMBLE_START, _END, _ROWTIME", r"TUMBLE_START.*TUMBLE_ROWTIME|TUMBLE_ROWTIME"),
        f("GROUPING SETS, ROLLUP, CUBE", r"GROUPING SETS|ROLLUP|CUBE"),
        f("GROUPING, GROUPING_ID", r"GROUPING(?:_ID)?\("),
        f("window top-N", r"ROW_NUMBER\(\) OVER \(PARTITION BY (?:\w+, )*window_start"),
        f("window deduplication", r"ROW_NUMBER\(\) OVER \(PARTITION BY [^)]*window_end[^)]*\).*(?:<= 1|= 1|< 2)(?!\d)"),
        f("window join: inner, left, right, full", r"JOIN.*window_start = \w+\.window_start"),
        f("window join: semi, anti", r"(?:EXISTS|IN) ?\(.*window_start"),
        f("over times that are no time attributes, in batch", r"TABLE t, DESCRIPTOR\(fine\)"),
        changing("windows over changing input", r"(?:TUMBLE|HOP|CUMULATE)\("),
        changing("SESSION over changing input", r"SESSION\("),
    ),
    "Joins": (
        f("inner", r"(?<!LEFT )(?<!RIGHT )(?<!FULL )(?<!OUTER )(?<!CROSS )JOIN (?!LATERAL|UNNEST)"),
        f("left, right, full", r"(?:LEFT|RIGHT|FULL) (?:OUTER )?JOIN"),
        changing("inner, on changing input", r"(?<!LEFT )(?<!RIGHT )(?<!FULL )(?<!OUTER )(?<!CROSS )JOIN (?!LATERAL|UNNEST)"),
        changing("left, right, full, on changing input", r"(?:LEFT|RIGHT|FULL) (?:OUTER )?JOIN"),
        changing("semi, anti, on changing input", r"(?:IN|EXISTS) ?\( ?SELECT"),
        f("semi (EXISTS, IN)", r"WHERE (?:[^()]* AND )?(?:\w+(?:\.\w+)? IN|EXISTS) ?\( ?SELECT"),
        f("anti (NOT EXISTS, NOT IN)", r"NOT (?:IN|EXISTS) ?\( ?SELECT"),
        f("cross, and on other conditions than =", r"CROSS JOIN|ON \w+\.\w+ [<>]"),
        f("null-safe equality", r"IS NOT DISTINCT FROM"),
        f("joins in the order of their keys", r"join-reorder", "sql/reordered_joins.slt"),
        f("three inputs and more", r"JOIN.*JOIN"),
        f("several by one key, as one operator", r"JOIN b ON a.k = b.k JOIN c ON a.k = c.k"),
        f("NATURAL, USING", r"NATURAL JOIN|USING ?\("),
        f("interval join", r"JOIN.*BETWEEN \w+\.\w+ (?:- INTERVAL|AND)"),
        f("temporal join, event time", r"FOR SYSTEM_TIME AS OF \w+\.at|FOR SYSTEM_TIME AS OF \w+\.ts"),
        f("lookup join, processing time", r"FOR SYSTEM_TIME AS OF (?:PROCTIME\(\)|\w+\.(?:pt|p|proctime|proc))"),
        f("CROSS JOIN UNNEST, WITH ORDINALITY", r"UNNEST\([^)]*\) WITH ORDINALITY"),
        f("UNNEST of a MULTISET", r"UNNEST\((visits\.)?(pages|parts)\)"),
        f("LATERAL (SELECT …)", r"LATERAL \( ?SELECT"),
        f("LEFT JOIN LATERAL … ON TRUE", r"LEFT JOIN LATERAL"),
        f("LATERAL TABLE(function)", r"LATERAL TABLE\("),
        changing("LATERAL TABLE(function) on changing input", r"LATERAL TABLE\("),
        f("LATERAL SNAPSHOT", r"LATERAL (?:TABLE\()?SNAPSHOT\("),
        changing("LATERAL SNAPSHOT of a changing table", r"LATERAL SNAPSHOT\(input => TABLE rates"),
        f("ASOF JOIN on event time", r"ASOF (?:LEFT )?JOIN .*\bat [<>]"),
        f("ASOF JOIN on other columns", r"readings AS r ASOF"),
        changing("ASOF JOIN on changing input", r"ASOF (?:LEFT )?JOIN"),
    ),
    "Aggregates": (
        f("COUNT, SUM, AVG, MIN, MAX", r"(?:COUNT|SUM|AVG|MIN|MAX)\(.*GROUP BY"),
        changing("on changing input", r"(?:COUNT|SUM|AVG|MIN|MAX)\(.*GROUP BY"),
        f("every one, over every type, in every place, on changing input", "AGGREGATES", "test_every_aggregate.py"),
        f("DISTINCT", r"COUNT\(DISTINCT"),
        f("FILTER", r"FILTER \(WHERE"),
        f("HAVING", r"HAVING"),
        f("ORDER BY in an aggregate, WITHIN GROUP", r"WITHIN GROUP|ARRAY_AGG\(\w+ ORDER BY"),
        f("FIRST_VALUE, LAST_VALUE", r"(?:FIRST|LAST)_VALUE\(\w+\)(?! OVER)"),
        f("LISTAGG, ARRAY_AGG, COLLECT, JSON_ARRAYAGG, JSON_OBJECTAGG", r"JSON_OBJECTAGG"),
        f("PERCENTILE, MEDIAN", r"PERCENTILE|MEDIAN"),
        f("APPROX_COUNT_DISTINCT", r"APPROX_COUNT_DISTINCT", "aggregate_answers.py"),
        f("COVAR, CORR, REGR", r"CORR\(|COVAR"),
        f("in two phases", r"agg-phase-strategy", "sql/two_phases.slt"),
        f("DISTINCT split by buckets", r"distinct-agg.split", "sql/distinct_split.slt"),
        f("of aggregates, of changing input", r"FROM \( ?SELECT.*GROUP BY.*\).*GROUP BY"),
    ),
    "OVER": (
        f("ROWS … PRECEDING", r"ROWS BETWEEN \d+ PRECEDING|ROWS \d+ PRECEDING"),
        f("RANGE … PRECEDING", r"RANGE BETWEEN INTERVAL"),
        f("… FOLLOWING", r"FOLLOWING"),
        f("WINDOW w AS (…)", r"WINDOW w AS"),
        f("several windows in one query", r"OVER.*OVER"),
        f("LAG, LEAD", r"LAG\(|LEAD\("),
        f("FIRST_VALUE, LAST_VALUE", r"FIRST_VALUE\([^)]*\) OVER|LAST_VALUE\([^)]*\) OVER"),
        f("ROW_NUMBER, RANK, DENSE_RANK", r"DENSE_RANK\(\) OVER"),
        f("NTILE, PERCENT_RANK, CUME_DIST", r"NTILE\(|PERCENT_RANK|CUME_DIST"),
        f("QUALIFY", r"QUALIFY"),
        changing("on changing input", r"\bOVER\b"),
        f("NTH_VALUE", r"NTH_VALUE\("),
        f("IGNORE NULLS: LAG, LEAD, NTH_VALUE, FIRST_VALUE, LAST_VALUE", r"LEAD\([^)]*\) IGNORE NULLS OVER"),
        changing("IGNORE NULLS on changing input", r"IGNORE NULLS OVER"),
        f("FILTER with OVER", r"FILTER \(WHERE [^()]*\) OVER"),
    ),
    "Top-N, deduplication, order": (
        f("ROW_NUMBER() … <= n", r"ROW_NUMBER\(\) OVER.*<= \d"),
        f("RANK, DENSE_RANK: with ties", r"(?:DENSE_)?RANK\(\) OVER"),
        f("with an offset", r"BETWEEN \d AND \d|> \d AND \w+ <= \d|OFFSET"),
        f("deduplication, first and last", r"ROW_NUMBER\(\) OVER \(PARTITION BY \w+ ORDER BY \w+(?: DESC)?\).*= 1"),
        f("ORDER BY time in a stream", r"ORDER BY", "test_temporal_sort.py"),
        f("ORDER BY … LIMIT, OFFSET, FETCH", r"LIMIT \d|FETCH FIRST"),
        changing("top-N on changing input", r"ROW_NUMBER\(\) OVER|RANK\(\) OVER|LIMIT \d"),
    ),
    "Sets and subqueries": (
        f("SELECT DISTINCT", r"SELECT DISTINCT"),
        f("UNION, UNION ALL", r"UNION ALL|UNION"),
        f("INTERSECT, INTERSECT ALL", r"INTERSECT ALL"),
        f("EXCEPT, EXCEPT ALL", r"EXCEPT ALL"),
        f("scalar subqueries", r"\( ?SELECT (?:MAX|MIN|COUNT|SUM)\([^)]*\) FROM[^)]*\)"),
        f("correlated subqueries", r"WHERE \w+\.\w+ = \w+\.\w+\)"),
        f("IN, NOT IN with NULLs", r"NOT IN ?\( ?SELECT"),
        f("set operations that speak of the outer row", r"(?:EXISTS|IN) \(SELECT [^()]* = s\.\w+ (?:UNION|EXCEPT|INTERSECT)"),
        f("subqueries in ON of outer joins", r"(?:LEFT|RIGHT|FULL) JOIN \w+ ON [^()]*\( ?SELECT"),
        f("subqueries in GROUP BY", r"GROUP BY [^()]*\( ?SELECT"),
        f("ANY, ALL", r"(?:[<>=]|<>) ?(?:ANY|ALL|SOME) ?\("),
        f("WITH (common table expressions)", r"WITH \w+ AS"),
        f("VALUES", r"VALUES"),
        f("PIVOT", r"\bPIVOT \("),
        f("UNPIVOT", r"UNPIVOT (?:(?:INCLUDE|EXCLUDE) NULLS )?\("),
        f("WITH RECURSIVE … UNION, UNION ALL", r"WITH RECURSIVE .*UNION ALL"),
        changing("WITH RECURSIVE over changing input", r"WITH RECURSIVE"),
        missing("WITH RECURSIVE: aggregates within, queries that read each other"),
    ),
    "Functions": (
        f("Flink's scalar functions, over NULL, limits and wrong values", "answers", "test_functions.py"),
        f("regular expressions as Java's", "regular", "test_regular_expressions.py"),
        f("casts of texts", "text_to_values", "test_text_to_values.py"),
        f("JSON_VALUE, JSON_QUERY, JSON_EXISTS, IS JSON", r"JSON_VALUE", "functions/json.txt"),
        f("JSON that comes as text into JSON_OBJECT and JSON_ARRAY: JSON(…)", r"JSON\(\{", "functions/json.txt"),
        f("OVERLAPS", r"OVERLAPS"),
        f("PRINTF", r"PRINTF", "functions/more_strings.txt"),
        f("RAND, RAND_INTEGER with a seed of each row", r"RAND(?:_INTEGER)?\((?:id|s)\b"),
        missing("RAND, RAND_INTEGER with a constant seed", "refused: a sequence has an order, rows have none"),
        missing("BITMAP_…; VARIANT (PARSE_JSON, TRY_PARSE_JSON); OBJECT_OF, OBJECT_UPDATE", "refused: there are no such types"),
        f("time zones", r"table.local-time-zone"),
        f("Python scalar functions", r"udf", "unit/functions/test_user.py"),
        f("process table functions", r"TABLE \w+ PARTITION BY|=> TABLE"),
        f("Python table functions", r"LATERAL TABLE\("),
        f("Python functions that are classes", r"hash_code\("),
        f("Python aggregate functions", r"weighted_avg\("),
        changing("Python aggregate functions on changing input", r"weighted_avg\("),
        f("inline Python bodies", r"LANGUAGE PYTHON AS \$\$"),
    ),
    "Changes and emission": (
        f("changing inputs (debezium), with and without a key", r"PRIMARY KEY"),
        f("TO_CHANGELOG, FROM_CHANGELOG", r"FROM_CHANGELOG|TO_CHANGELOG"),
        f("hints: STATE_TTL", r"STATE_TTL"),
        f("hints: LOOKUP", r"LOOKUP\(", "unit/operators/test_lookup_join.py"),
        f("hints: OPTIONS", r"OPTIONS ?\(", "test_file_tables.py"),
        f("rows that came too late: left out, the same in all ways", r"late", "test_late_rows.py"),
        f("rows that came too late, as a table", r"late-rows", "test_late_rows_table.py"),
        f("records that cannot be read, as a table", "bad", "test_bad_records.py"),
        f("idle sources", r"idle-timeout|idle", "unit/operators/test_watermark_holder.py"),
        f("sink enforcers (NOT NULL, length)", "enforcer", "test_sink_enforcers.py"),
        f("ON CONFLICT DO ERROR, DO NOTHING, DO DEDUPLICATE", r"ON CONFLICT", "test_on_conflict.py"),
        f("early firing of windows", r"EMIT CHANGES|early-fire"),
        f("late firing, allowed lateness", r"late-fire|allow-lateness"),
        f("CURRENT_WATERMARK", r"CURRENT_WATERMARK"),
        f("EMIT ON WINDOW CLOSE, EMIT CHANGES", r"EMIT ON WINDOW CLOSE"),
        f("watermark alignment between sources", r"alignment", "test_watermark_alignment.py"),
    ),
    "Statements": (
        f("CREATE TABLE … LIKE", r"LIKE", "unit/sql/test_statement_syntax.py"),
        f("CREATE TABLE … AS SELECT, with columns", r"AS SELECT", "test_create_as.py"),
        f("ALTER TABLE, ALTER VIEW", r"ALTER TABLE", "test_alter.py"),
        f("CREATE OR REPLACE", r"CREATE OR REPLACE", "test_alter.py"),
        f("STATEMENT SET", r"STATEMENT SET", "test_restarts.py"),
        f("INSERT OVERWRITE, partitions", r"INSERT OVERWRITE", "test_overwrite.py"),
        f("EXPLAIN, CHANGELOG_MODE", r"CHANGELOG_MODE", "unit/test_explain.py"),
        f("parts of a query that are read several times run once", r"WITH", "sql/shared_parts.slt"),
        f("constant folding", r"1 = 1 AND", "sql/constants.slt"),
        f("joins and groups that the optimiser makes simpler", r"JOIN|GROUP BY", "sql/rewritten_joins.slt"),
        f("filters that keep row groups and files of partitions from being read", r"WHERE", "sql/row_groups.slt"),
        f("EXPLAIN OPTIMIZER_TRACE (what the optimiser's rules did)", r"OPTIMIZER_TRACE", "unit/test_explain.py"),
        f("EXPLAIN CREATE TABLE … AS", r"EXPLAIN CREATE TABLE", "unit/test_explain.py"),
        f("EXPLAIN ANALYZE", r"ANALYZE", "unit/test_explain_analyze.py"),
        f("databases; names with their catalog and database", r"CREATE DATABASE"),
        f("DESCRIBE, DESCRIBE FUNCTION, SHOW PARTITIONS", r"DESCRIBE FUNCTION", "unit/test_describe.py"),
        f("information_schema", r"information_schema\.\w+"),
    ),
    "Patterns": (missing("MATCH_RECOGNIZE"),),
}  # fmt: skip


@dataclass(frozen=True)
class Covered:
    """A feature with the files that have it, and the ways in which its queries run."""

    feature: Feature
    files: tuple[str, ...]
    ways: str


def queries() -> list[slt.Query]:
    return [q for file in sorted((TESTS / "sql").glob("*.slt")) for q in slt.load(file)]


def covered() -> Iterator[tuple[str, list[Covered]]]:
    """Each section's features."""
    texts = [(q, *_texts(q)) for q in queries() if q.error is None]
    for section, features in FEATURES.items():
        yield section, [_covered(feature, texts) for feature in features]


def _texts(q: slt.Query) -> tuple[str, str]:
    own = re.sub(r"\s+", " ", q.sql)
    return own, re.sub(r"\s+", " ", "\n".join([*q.statements, *(i.body for i in q.inputs)]))


def _covered(feature: Feature, texts: list[tuple[slt.Query, str, str]]) -> Covered:
    if feature.missing:
        return Covered(feature, (), feature.missing)
    pattern = re.compile(feature.pattern, re.I)
    if feature.files:
        files = [n for n in feature.files if (TESTS / n).exists() and pattern.search((TESTS / n).read_text())]
        return Covered(feature, tuple(f"tests/{n}" for n in files), "")
    some = [(q, own, rest) for q, own, rest in texts if not feature.changing or _changes(q)]
    found = [q for q, own, _ in some if pattern.search(own)] or [q for q, _, rest in some if pattern.search(rest)]
    ways = Counter(q.only or FOUR for q in found)
    files = [name for name, _ in Counter(q.file for q in found).most_common(3)]
    return Covered(feature, tuple(f"tests/sql/{n}.slt" for n in files), "; ".join(_said(ways)))


def _changes(q: slt.Query) -> bool:
    return any(i.format == "debezium-json" and re.search(rf"\b{i.name}\b", q.sql) for i in q.inputs)


def _said(ways: Counter[str]) -> Iterator[str]:
    for way in (FOUR, "batch", "streaming"):
        if way in ways:
            yield way if len(ways) == 1 or way == FOUR else f"some in {way} alone"
