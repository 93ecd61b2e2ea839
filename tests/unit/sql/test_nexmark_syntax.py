"""Every Nexmark statement is read, and prints as text that reads back the same."""

from pathlib import Path

import pytest

from sqlstream.sql import parse_query, parse_script
from sqlstream.sql.printing import sql_of
from sqlstream.sql.statements import CreateTable, CreateView
from sqlstream.types import timestamp

CHECKOUT = Path(__file__).parents[3]
FOLDERS = [CHECKOUT.parent / "shared" / "nexmark", CHECKOUT / "queries" / "nexmark"]
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*.sql"))


@pytest.mark.parametrize(
    "path", FILES or [pytest.param(None, marks=pytest.mark.skip("no Nexmark files here"))], ids=str
)
def test_reads(path):
    for statement in parse_script(path.read_text(), str(path), {"EVENTS": "/data/it's.json"}):
        tree = getattr(statement, "query", None)
        assert tree is None or parse_query(sql_of(tree)) == tree


@pytest.mark.skipif(not (FOLDERS[0] / "ddl.sql").exists(), reason="no Nexmark files here")
def test_definitions():
    events, *views = parse_script((FOLDERS[0] / "ddl.sql").read_text(), variables={"EVENTS": "/data/it's.json"})
    assert isinstance(events, CreateTable) and events.options[1] == ("path", "/data/it's.json")
    assert [c.name for c in events.columns] == ["event_type", "person", "auction", "bid", "dateTime"]
    assert events.columns[3].type.fields[5].type == timestamp(3)
    assert events.watermark.column == "dateTime"
    assert events.watermark.text == "`dateTime` - INTERVAL '4' SECOND"
    assert [v.name for v in views if isinstance(v, CreateView)] == [("person",), ("auction",), ("bid",)]
