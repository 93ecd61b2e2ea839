"""What `'connector' = 'alert'` means: its options, checked, and the sink that they make."""

from __future__ import annotations

import logging

from sqlstream.contracts import Connector, Sink, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option, read
from sqlstream.secrets import learn

KINDS = ("info", "success", "warning", "failure")


class AlertConnector(Connector):
    """`'connector' = 'alert'`: for writing only."""

    name = "alert"
    options = (
        Option("notification-urls", required=True,
               doc="where notifications go: URLs as apprise has them (mailto://…, slack://…, tgram://…, json://…), with spaces or line ends between. "
               "They hold secrets and are shown nowhere; '${env:ALERT_URLS}' keeps them out of the script", compared="nothing"),
        Option("title", "string", "", "with columns in braces: '{level} on {host}'", compared="nothing"),
        Option("body", doc="with columns in braces; all columns, a line each, if it is left out", compared="nothing"),
        Option("kind", "enum", "warning", "how services that know kinds show it", KINDS, compared="nothing"),
        Option("deduplication-key", doc="with columns in braces: what has the same key is told once in 'deduplication-interval'", compared="nothing"),
        Option("deduplication-interval", "duration", 600_000_000, "for how long", minimum=1000, compared="nothing"),
        Option("max-per-minute", "int", 10, "notifications in a minute, at most; what is held back is counted, and a summary says how many", minimum=1,
               compared="nothing"),
        Option("max-retries", "int", 3, "tries after one that failed, each after a longer rest", minimum=0, compared="nothing"),
        Option("on-failure", "enum", "fail", "what happens when a notification cannot be sent: fail: the job does, and goes on from its last checkpoint; skip: "
               "it is counted with those that were held back", ("fail", "skip"), compared="nothing"),
    )  # fmt: skip

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.alert.sink import Alerting, AlertSink
        from sqlstream.connectors.messages.clients import library
        from sqlstream.connectors.templates import Template

        where = f"table {table.name}"
        options = read(table.options, self.options, where)
        urls = tuple(options["notification-urls"].split())
        apprise = library("apprise", "alert", "alert")
        logging.getLogger("apprise").propagate = False  # what it logs has the URLs, and their secrets, in it
        logging.getLogger("apprise").addHandler(logging.NullHandler())
        if not urls:
            raise OptionError(
                f"{where}: option 'notification-urls' is empty", hint="'notification-urls' = '${env:ALERT_URLS}'"
            )
        for i, url in enumerate(urls, 1):
            learn("notification-url", url)
            if not apprise.Apprise().add(url):
                scheme = url.partition("://")[0] if "://" in url else "none"
                raise OptionError(
                    f"{where}: option 'notification-urls': URL {i} (scheme {scheme}) is none that apprise knows, or it lacks something",
                    hint="https://appriseit.com/services/ has those of all services",
                )

        def template(key: str) -> Template | None:
            text = options[key]
            return None if text is None else Template.of(text, table.schema, f"{where}: option '{key}'")

        title = template("title")
        assert title is not None
        if "deduplication-interval" in table.options and options["deduplication-key"] is None:
            raise OptionError(
                f"{where}: option 'deduplication-interval' needs 'deduplication-key'", subject="deduplication-interval"
            )
        return AlertSink(Alerting(
            table, urls, title, template("body"), options["kind"], template("deduplication-key"),
            options["deduplication-interval"] / 1e6, options["max-per-minute"], options["max-retries"], options["on-failure"] == "skip",
        ))  # fmt: skip
