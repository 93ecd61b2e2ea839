from __future__ import annotations

from sqlstream.batches import NO_WATERMARK, Delta
from sqlstream.operators.union import UnionAll
from sqlstream.types import BIGINT
from tests.unit.operators.driver import Run, batch, schema, source, tuples

S = schema(k=BIGINT)


def test_hidden_columns_are_made_the_same() -> None:
    run = Run(UnionAll((source(S, row_wm=True, arrival=True), source(S, changelog=True, row_wm=False)), S))
    assert not run.node.traits.append_only and run.node.traits.row_wm and not run.node.traits.arrival
    assert run.epoch([(1, 7, 0)], [("+I", 2), ("-D", 2)], watermark=[5, 9]) == [("+I", 1), ("+I", 2), ("-D", 2)]
    assert run.rows == [(1,)] and run.time.watermark == 5


def test_the_mark_of_an_input_without_one_is_never_late() -> None:
    node = UnionAll((source(S, row_wm=True), source(S)), S)
    run = Run(node)
    out = run.tasks[0].operator.step([Delta([batch(node.inputs[0], [(1, 7)])]), Delta([batch(node.inputs[1], [(2,)])])])
    assert [r for b in out.batches for r in tuples(b)] == [(1, 7), (2, NO_WATERMARK)]
