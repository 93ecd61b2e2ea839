"""The logical plan: a frozen dataclass a relational operator, with its answers.

A node derives its schema when it is made and refuses an impossible input. Keys, arguments and conditions refer to
input columns by position; aggregates and windows take plain columns, so a Project below computes their arguments.
What is to be known of a node, it says itself (`Node` lists the questions): nobody keeps a list of nodes elsewhere.
"""

from sqlstream.plan.nodes.aggregate import AggCall, Aggregate
from sqlstream.plan.nodes.changelog import ChangelogNormalize, FromChangelog, ToChangelog
from sqlstream.plan.nodes.emission import Emission
from sqlstream.plan.nodes.join import AsofJoin, Join, LookupJoin, TemporalJoin
from sqlstream.plan.nodes.leaves import BAD_COLUMNS, BadRecords, Scan, Values
from sqlstream.plan.nodes.node import LATER, TUNING, Mapping, Node, OneInput, Prune, Pruned, told_by, tree
from sqlstream.plan.nodes.order import Frame, Over, OverCall, Sort, SortKey, TopN, order_text
from sqlstream.plan.nodes.process import ProcessTableFunction
from sqlstream.plan.nodes.recursion import Recursion, RecursiveRef
from sqlstream.plan.nodes.rows import Expand, Filter, Project, Unnest, keep
from sqlstream.plan.nodes.snapshot_join import SnapshotJoin
from sqlstream.plan.nodes.union import Union
from sqlstream.plan.nodes.versions import Versions
from sqlstream.plan.nodes.window import BatchTime, Window, WindowSpec

__all__ = [
    "BAD_COLUMNS",
    "LATER",
    "TUNING",
    "AggCall",
    "Aggregate",
    "AsofJoin",
    "BadRecords",
    "BatchTime",
    "ChangelogNormalize",
    "Emission",
    "Expand",
    "Filter",
    "Frame",
    "FromChangelog",
    "Join",
    "LookupJoin",
    "Mapping",
    "Node",
    "OneInput",
    "Over",
    "OverCall",
    "ProcessTableFunction",
    "Project",
    "Prune",
    "Pruned",
    "Recursion",
    "RecursiveRef",
    "Scan",
    "SnapshotJoin",
    "Sort",
    "SortKey",
    "TemporalJoin",
    "ToChangelog",
    "TopN",
    "Union",
    "Unnest",
    "Values",
    "Versions",
    "Window",
    "WindowSpec",
    "keep",
    "order_text",
    "told_by",
    "tree",
]
