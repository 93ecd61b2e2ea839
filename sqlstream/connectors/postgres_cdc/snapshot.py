"""Where a job begins with a table: what must be true of it, its publication, its slot, and what it holds at that moment."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlstream.connectors.jdbc.postgres import Connection, Denied, quoted, text
from sqlstream.connectors.jdbc.tables import DbTable
from sqlstream.connectors.postgres_cdc.replication import Replication, number_of
from sqlstream.errors import CheckpointError, OptionError, RunError

_FULL, _NONE = "f", "n"


@dataclass(frozen=True)
class Beginning:
    """The place from which the stream goes on, and the snapshot of that moment, if it can be had."""

    lsn: int
    snapshot: str | None


def check(connection: Connection, there: DbTable, key: tuple[str, ...]) -> None:
    """OptionError unless the server streams, and its changes say which rows they are of. `key`: the columns there; () for all."""
    where = connection.where
    ((level,),) = connection.rows("SELECT current_setting('wal_level')")
    if level != "logical":
        raise OptionError(
            f"{where}: the server's wal_level is {level}: it has no stream of changes",
            hint="ALTER SYSTEM SET wal_level = 'logical', and restart it",
        )
    oid = f"{text(there.sql)}::regclass"
    ((identity,),) = connection.rows(f"SELECT relreplident::text FROM pg_class WHERE oid = {oid}")
    which = "i.indisprimary" if identity == "d" else "i.indisreplident"
    sent = connection.rows(
        "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
        f"WHERE i.indrelid = {oid} AND {which}"
    )
    if identity == _FULL or (key and identity != _NONE and set(key) <= {n for (n,) in sent}):
        return
    if key:
        raise OptionError(
            f"{where}: its PRIMARY KEY is ({', '.join(key)}), and changes of {there.schema}.{there.name} say "
            f"({', '.join(n for (n,) in sent) or 'nothing'}) of the row that they are of",
            hint=f"ALTER TABLE {there.sql} ADD PRIMARY KEY (…), or REPLICA IDENTITY FULL",
        )
    raise OptionError(
        f"{where}: it has no PRIMARY KEY here, and changes of {there.schema}.{there.name} do not say which row they are of",
        hint=f"PRIMARY KEY (…) NOT ENFORCED; or ALTER TABLE {there.sql} REPLICA IDENTITY FULL",
    )


def publish(connection: Connection, there: DbTable, publication: str, autocreate: str) -> None:
    """The publication has the table: it is made, or told to, where that is allowed. OptionError where it is not there; RunError
    where the user has not the right to."""
    name = quoted(publication)
    made = connection.rows(f"SELECT pubname::text FROM pg_publication WHERE pubname = {text(publication)}")
    has = connection.rows(
        f"SELECT 1 FROM pg_publication_tables WHERE pubname = {text(publication)} AND schemaname = {text(there.schema)} "
        f"AND tablename = {text(there.name)}"
    )
    if made:
        _check_publication(connection, there, publication)
    if has:
        return
    if autocreate == "disabled":
        raise OptionError(
            f"{connection.where}: publication '{publication}' {'has not the table' if made else 'is not there'}",
            hint=f"CREATE PUBLICATION {name} FOR TABLE {there.sql}",
            subject=publication,
        )
    what = "ALL TABLES" if autocreate == "all_tables" else f"TABLE {there.sql}"
    make = f"CREATE PUBLICATION {name} FOR {what} WITH (publish_via_partition_root = true)"
    try:
        connection.execute(f"ALTER PUBLICATION {name} ADD TABLE {there.sql}" if made else make)
    except Denied as e:
        ((user, database),) = connection.rows("SELECT current_user::text, current_database()::text")
        lacks = (
            "has not the table, and the user may not add it" if made else "is not there, and the user may not make it"
        )
        by_hand = f"ALTER PUBLICATION {name} ADD TABLE {there.sql}" if made else f"CREATE PUBLICATION {name} FOR {what}"
        rights = f"own {'the publication and ' if made else ''}the table"
        create = "" if made else f", and GRANT CREATE ON DATABASE {quoted(database)} TO {quoted(user)}"
        raise Denied(
            f"{e.message}: publication '{publication}' {lacks}",
            hint=f"let a superuser do it: {by_hand}; or let {user} {rights}{create}",
            subject=publication,
        ) from e.__cause__


def _check_publication(connection: Connection, there: DbTable, publication: str) -> None:
    """OptionError where it leaves changes out, or says them of partitions."""
    name = quoted(publication)
    ((inserts, updates, deletes, by_root, partitioned),) = connection.rows(
        "SELECT pubinsert, pubupdate, pubdelete, pubviaroot, (SELECT relkind = 'p' FROM pg_class WHERE oid = "
        f"{text(there.sql)}::regclass) FROM pg_publication WHERE pubname = {text(publication)}"
    )
    missing = [w for w, there_is in (("insert", inserts), ("update", updates), ("delete", deletes)) if not there_is]
    if missing:
        raise OptionError(
            f"{connection.where}: publication '{publication}' leaves out what is done by {' and '.join(missing)}",
            hint=f"ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate'), or another 'debezium.publication.name'",
            subject=publication,
        )
    if partitioned and not by_root:
        raise OptionError(
            f"{connection.where}: publication '{publication}' says changes of {there.schema}.{there.name} to be its partitions'",
            hint=f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true), or another 'debezium.publication.name'",
            subject=publication,
        )


def check_generated(connection: Connection, there: DbTable, publication: str, wanted: Collection[str]) -> None:
    """OptionError where a column is wanted whose values the server computes, and does not send. `wanted`: names there."""
    ((sent,),) = connection.rows(
        f"SELECT coalesce((SELECT to_jsonb(p) ->> 'pubgencols' FROM pg_publication p WHERE pubname = {text(publication)}), 'n')"
    )
    found = connection.rows(
        f"SELECT attname::text, attgenerated::text FROM pg_attribute WHERE attrelid = {text(there.sql)}::regclass AND attgenerated <> ''"
    )
    lost = [n for n, kind in found if n in wanted and not (kind == "s" and sent == "s")]
    if lost:
        raise OptionError(
            f"{connection.where}: column {lost[0]} is computed by the server, which does not send it with changes",
            hint="leave it out, and compute it here; PostgreSQL 18 sends it where the publication has publish_generated_columns = stored",
            subject=lost[0],
        )


def begin(connection: Connection, replication: Replication, slot: str, keyed: bool, exports: bool) -> Beginning:
    """Makes the slot. One that is there is gone on with where rows are known by a key: what it sends of the time before the
    snapshot says nothing new in the end."""
    found = slot_of(connection, slot)
    if found is None:
        how = "EXPORT_SNAPSHOT" if exports else "NOEXPORT_SNAPSHOT"
        ((_, place, snapshot, _),) = replication.run(f'CREATE_REPLICATION_SLOT "{slot}" LOGICAL pgoutput {how}')
        return Beginning(number_of(place), snapshot or None)
    if not keyed:
        raise OptionError(
            f"{connection.where}: slot '{slot}' is there, from which rows without a PRIMARY KEY might come twice",
            hint=f"SELECT pg_drop_replication_slot('{slot}'), or another 'slot.name'",
            subject=slot,
        )
    if not exports:
        ((place,),) = connection.rows("SELECT pg_current_wal_lsn()::text")
        return Beginning(number_of(place), None)
    return Beginning(found, None)


def go_on(connection: Connection, slot: str, lsn: int) -> None:
    """CheckpointError when the slot does not have what was committed behind `lsn` any more."""
    confirmed = slot_of(connection, slot)
    if confirmed is None:
        raise CheckpointError(
            f"{connection.where}: replication slot '{slot}' is gone, and the changes since the checkpoint with it",
            hint="start anew with --fresh",
        )
    if confirmed > lsn:
        raise CheckpointError(
            f"{connection.where}: replication slot '{slot}' has gone on behind the checkpoint: a later one was complete, or "
            "somebody else reads it",
            hint="go on from the latest checkpoint, or start anew with --fresh",
        )


def slot_of(connection: Connection, slot: str) -> int | None:
    """Where a slot stands; None: there is none. RunError when it is no slot of this database's changes, or has lost some."""
    found = connection.rows(
        "SELECT plugin::text, database::text = current_database(), wal_status, confirmed_flush_lsn::text "
        f"FROM pg_replication_slots WHERE slot_name = {text(slot)}"
    )
    if not found:
        return None
    ((plugin, here, status, confirmed),) = found
    if plugin != "pgoutput" or not here:
        raise OptionError(
            f"{connection.where}: slot '{slot}' is of {'another database' if plugin == 'pgoutput' else f'plugin {plugin}'}",
            hint="another 'slot.name'",
            subject=slot,
        )
    if status == "lost":
        raise RunError(
            f"{connection.where}: slot '{slot}' was left behind for too long (max_slot_wal_keep_size): changes are lost",
            hint=f"SELECT pg_drop_replication_slot('{slot}'), and start anew with --fresh",
        )
    return number_of(confirmed) if confirmed else 0
