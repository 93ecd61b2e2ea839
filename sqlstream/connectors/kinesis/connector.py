"""What `'connector' = 'kinesis'` means: its options, by the names of Flink's connector, and what is made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.contracts import Sink, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option

if TYPE_CHECKING:
    from sqlstream.connectors.kinesis.client import Address
    from sqlstream.connectors.kinesis.source import Start

_MODES = ("LATEST", "TRIM_HORIZON", "AT_TIMESTAMP")
_ARN = re.compile(r"arn:aws[\w-]*:kinesis:([\w-]+):\d+:stream/[\w.-]+\Z")


class KinesisConnector(MessageConnector):
    """`'connector' = 'kinesis'`."""

    name = "kinesis"
    options = (
        Option("stream.arn", required=True, doc="the stream: arn:aws:kinesis:us-east-1:123456789012:stream/orders"),
        *FORMAT_OPTIONS,
        Option("aws.region", doc="where the stream is; else what its ARN says", compared="nothing"),
        Option("aws.endpoint", doc="URL of a server in the place of AWS; else AWS_ENDPOINT_URL", compared="nothing"),
        Option("aws.credentials.provider", "enum", "AUTO",
               "who asks. AUTO: as AWS's tools find it: environment, profile, the machine's role; BASIC: by the two options below; PROFILE: by a "
               "profile of ~/.aws", ("AUTO", "BASIC", "PROFILE"), compared="nothing"),
        Option("aws.credentials.basic.accesskeyid", doc="of BASIC, which it stands for", compared="nothing"),
        Option("aws.credentials.basic.secretkey", doc="of BASIC", compared="nothing"),
        Option("aws.credentials.profile.name", doc="of PROFILE, which it stands for", compared="nothing"),
        Option("aws.trust.all.certificates", "bool", False, "whether a server's certificate need not be valid", compared="nothing"),
        Option("source.init.position", "enum", "LATEST",
               "where reading begins: behind what is there, at the oldest record, or at a time", _MODES),
        Option("source.init.timestamp", doc="of AT_TIMESTAMP: seconds since 1970 (1459799926.480), or a time (2016-04-04T19:58:46.480-00:00)"),
        Option("source.shard.discovery.interval", "duration", 10_000_000, "how often new shards are looked for", minimum=1, compared="nothing"),
        Option("scan.bounded.mode", "enum", "unbounded",
               "where reading ends: never, or, latest, where there is nothing more in the shards that were there when the job starts",
               ("unbounded", "latest")),
        Option("sink.partitioner", "enum", "random",
               "the partition key of records: random: another one for each; fixed: one for each task. A table with PARTITIONED BY has these "
               "columns for keys", ("random", "fixed"), compared="nothing"),
        Option("sink.partitioner-field-delimiter", "string", "|", "what stands between values of PARTITIONED BY in keys", compared="nothing"),
        Option("sink.batch.max-size", "int", 500, "records of a request at most", minimum=1, maximum=500, compared="nothing"),
        Option("sink.max-retries", "int", 10, "how often records are sent again that a shard did not take", minimum=0, compared="nothing"),
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        from sqlstream.connectors.kinesis.reader import KNOWN

        return KNOWN

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read
        from sqlstream.connectors.kinesis.source import KinesisSource

        options, value, bad = self._read(table)
        bounded = options["scan.bounded.mode"] == "latest"
        begin = self._start(table, options)
        if bounded and begin.mode == "LATEST":
            raise OptionError(
                f"table {table.name}: 'scan.bounded.mode' = 'latest' ends where 'source.init.position' = 'LATEST' begins",
                hint="'source.init.position' = 'TRIM_HORIZON' reads what is there",
            )
        discovery = options["source.shard.discovery.interval"] / 1e6
        return KinesisSource(table, self._address(table, options), value, begin, bounded, discovery, bad)

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.kinesis.sink import KinesisSink, Target

        options, value, _ = self._read(table)
        self._metadata_columns(table)
        for key in ("sink.partitioner", "sink.partitioner-field-delimiter"):
            if key in table.options and bool(table.partitioned_by) != (key != "sink.partitioner"):
                said = "has PARTITIONED BY, which says the keys" if table.partitioned_by else "has no PARTITIONED BY"
                raise OptionError(f"table {table.name}: option '{key}': the table {said}", subject=key)
        for name in table.partitioned_by:
            t = table.schema[table.schema.names.index(name)].type
            if not (t.is_string or t.is_integer):
                raise OptionError(
                    f"table {table.name}: PARTITIONED BY: column '{name}' ({t.text()}) cannot stand in a key: it could be written in several ways",
                    hint="a text or a whole number can",
                    subject=name,
                )
        target = Target(
            table.name, self._address(table, options), self._encoder(table, value), options["sink.partitioner"], table.partitioned_by,
            options["sink.partitioner-field-delimiter"], options["sink.batch.max-size"], options["sink.max-retries"],
        )  # fmt: skip
        return KinesisSink(target, value.format.changelog)

    def _address(self, table: TableContext, options: Mapping[str, Any]) -> Address:
        from sqlstream.connectors.kinesis.client import Address

        found = _ARN.match(options["stream.arn"])
        if found is None:
            raise OptionError(
                f"table {table.name}: option 'stream.arn': '{options['stream.arn']}' is no ARN of a stream",
                hint="arn:aws:kinesis:us-east-1:123456789012:stream/orders",
                subject="stream.arn",
            )
        key, secret = options["aws.credentials.basic.accesskeyid"], options["aws.credentials.basic.secretkey"]
        profile, provider = options["aws.credentials.profile.name"], options["aws.credentials.provider"]
        wanted = {"BASIC": (key, secret), "PROFILE": (profile,)}.get(provider, ())
        if None in wanted or (key is None) != (secret is None):
            raise OptionError(
                f"table {table.name}: options 'aws.credentials.*' are not complete",
                hint="BASIC has '….basic.accesskeyid' and '….basic.secretkey', PROFILE '….profile.name'",
            )
        return Address(
            options["stream.arn"], options["aws.region"] or found[1], options["aws.endpoint"], key, secret, profile,
            not options["aws.trust.all.certificates"],
        )  # fmt: skip

    def _start(self, table: TableContext, options: Mapping[str, Any]) -> Start:
        from sqlstream.connectors.kinesis.source import Start

        mode, given = options["source.init.position"], options["source.init.timestamp"]
        if (given is not None) != (mode == "AT_TIMESTAMP"):
            said = "is for 'source.init.position' = 'AT_TIMESTAMP'" if given is not None else "is missing"
            raise OptionError(f"table {table.name}: option 'source.init.timestamp' {said}")
        if given is None:
            return Start(mode)
        try:
            at = float(given) if re.fullmatch(r"\d+(\.\d*)?", given) else datetime.fromisoformat(given).timestamp()
        except ValueError:
            raise OptionError(
                f"table {table.name}: option 'source.init.timestamp': '{given}' is no time",
                hint="seconds since 1970 (1459799926.480), or 2016-04-04T19:58:46.480-00:00",
                subject="source.init.timestamp",
            ) from None
        return Start(mode, at)
