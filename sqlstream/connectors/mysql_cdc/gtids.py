"""Sets of global transaction ids: MySQL's (`uuid:1-7,…`), and MariaDB's, the last one of each domain (`0-1-42,1-1-7`)."""

from __future__ import annotations

from typing import Any

from sqlstream.distribution import install
from sqlstream.errors import OptionError

MARIADB, MYSQL = "mariadb", "mysql"


class Gtids:
    """A set that grows. `kind`: of the two. OptionError for what is none."""

    def __init__(self, kind: str, known: str) -> None:
        self._last: dict[str, str] = {}
        self._set: Any = None
        try:
            if kind == MARIADB:
                for gtid in filter(None, (g.strip() for g in known.split(","))):
                    domain, server, number = gtid.split("-")
                    self._last[domain] = f"{int(domain)}-{int(server)}-{int(number)}"
            elif known:
                self._set = _library().GtidSet(known.replace("\n", ""))
        except ValueError as e:
            raise OptionError(f"'{known}' is no set of {kind}'s global transaction ids: {e}", subject=known) from e
        self._kind = kind

    def add(self, gtid: str) -> None:
        """One more."""
        if self._kind == MARIADB:
            self._last[gtid.partition("-")[0]] = gtid
        elif self._set is None:
            self._set = _library().GtidSet(gtid)
        else:
            self._set.merge_gtid(_library().Gtid(gtid))

    def __str__(self) -> str:
        if self._kind == MARIADB:
            return ",".join(self._last[d] for d in sorted(self._last, key=int))
        return "" if self._set is None else str(self._set)

    def encoded(self) -> bytes:
        """As COM_BINLOG_DUMP_GTID wants it."""
        out: bytes = self._set.encoded() if self._set is not None else bytes(8)
        return out


def _library() -> Any:
    try:
        from pymysqlreplication import gtid
    except ImportError as e:
        raise OptionError(
            f"connector 'mysql-cdc' needs a package that is not installed: {e}", hint=install("mysql")
        ) from e
    return gtid
