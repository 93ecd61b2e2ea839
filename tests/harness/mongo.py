"""MongoDB's wire on a loopback port, over mongomock: for jobs, whose processes a mongomock of the tests' own does not reach.

It speaks OP_MSG, and OP_QUERY for a client's first hello (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/), as a server that stands
alone, and knows the commands that sinks send; what filters and updates mean is mongomock's. Nobody has an account: who logs in is refused, others are served.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import bson
import mongomock
from pymongo.errors import OperationFailure

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
CHECKSUM, MORE_TO_COME = 1, 2  # flags of OP_MSG
HEADER = struct.Struct("<4i")  # length, number (no client looks at an answer's), number of what it answers, opcode
Document = dict[str, Any]
HELLO: Document = {
    "helloOk": True, "ismaster": True, "isWritablePrimary": True, "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000, "minWireVersion": 0, "maxWireVersion": 21, "readOnly": False, "logicalSessionTimeoutMinutes": 30,
}  # fmt: skip


def refusal(code: int, name: str, said: str) -> Document:
    return {"ok": 0.0, "code": code, "codeName": name, "errmsg": said}


class Commands:
    """What is asked of the data, one after the other, by any thread."""

    def __init__(self) -> None:
        self._data, self._lock = mongomock.MongoClient(), threading.Lock()
        self._known: Mapping[str, Callable[[Document], Document]] = {
            **dict.fromkeys(("hello", "isMaster", "ismaster"), lambda asked: HELLO),
            **dict.fromkeys(("ping", "endSessions"), lambda asked: {}),
            "saslStart": lambda asked: refusal(18, "AuthenticationFailed", "Authentication failed."),
            "find": self._find,
            "update": lambda asked: self._each(asked, "updates", self._update),
            "delete": lambda asked: self._each(asked, "deletes", self._delete),
        }

    def documents(self, database: str, collection: str) -> list[Document]:
        """All that are there."""
        with self._lock:
            return list(self._data[database][collection].find())

    def answer(self, asked: Document) -> Document:
        name = next(iter(asked))
        if name not in self._known:
            return refusal(59, "CommandNotFound", f"no such command: '{name}'")
        with self._lock:
            return {"ok": 1.0, **self._known[name](asked)}

    def _collection(self, asked: Document) -> Any:
        return self._data[asked["$db"]][next(iter(asked.values()))]

    def _find(self, asked: Document) -> Document:
        collection = self._collection(asked)
        found = collection.find(asked.get("filter"), asked.get("projection"), limit=abs(asked.get("limit", 0)))
        return {"cursor": {"id": bson.Int64(0), "ns": collection.full_name, "firstBatch": list(found)}}

    def _each(self, asked: Document, of: str, work: Callable[[Any, Document], Document]) -> Document:
        """The operations of a command; which goes on behind one that fails, unless it is ordered."""
        collection, done = self._collection(asked), Counter[str]()
        lists: dict[str, list[Document]] = {"upserted": [], "writeErrors": []}
        for at, operation in enumerate(asked[of]):
            try:
                one = work(collection, operation)
            except OperationFailure as e:
                lists["writeErrors"].append({"index": at, "code": e.code or 2, "errmsg": str(e)})
                if asked.get("ordered", True):
                    break
            else:
                if "_id" in one:
                    lists["upserted"].append({"index": at, "_id": one.pop("_id")})
                done.update(one)
        return {"n": 0, **done, **{k: v for k, v in lists.items() if v}}

    def _update(self, collection: Any, operation: Document) -> Document:
        query, update, upsert = operation["q"], operation["u"], operation.get("upsert", False)
        one = collection.update_one if next(iter(update), "").startswith("$") else collection.replace_one
        done = (collection.update_many if operation.get("multi") else one)(query, update, upsert)
        if done.upserted_id is not None:
            return {"n": 1, "nModified": 0, "_id": done.upserted_id}
        return {"n": done.matched_count, "nModified": done.modified_count}

    def _delete(self, collection: Any, operation: Document) -> Document:
        delete = collection.delete_one if operation["limit"] else collection.delete_many
        return {"n": delete(operation["q"]).deleted_count}


def message(body: bytes) -> tuple[Document, bool]:
    """The command of an OP_MSG, the documents of its sequences among its fields; and whether it wants an answer."""
    (flags,) = struct.unpack_from("<I", body)
    at, end, asked = 4, len(body) - (4 if flags & CHECKSUM else 0), Document()
    while at < end:
        kind, (size,) = body[at], struct.unpack_from("<i", body, at + 1)
        section = body[at + 1 : at + 1 + size]
        if kind == 0:
            asked = {**bson.decode(section), **asked}
        else:
            name = section[4 : section.index(b"\0", 4)]
            asked[name.decode()] = bson.decode_all(section[4 + len(name) + 1 :])
        at += 1 + size
    return asked, not flags & MORE_TO_COME


class Connection(StreamRequestHandler):
    """Answers until it is hung up, from either side."""

    server: Listener

    def handle(self) -> None:
        with suppress(OSError):
            while True:
                size, asked, _, opcode = HEADER.unpack(self._read(HEADER.size))
                if said := self._said(opcode, self._read(size - HEADER.size)):
                    reply = OP_REPLY if opcode == OP_QUERY else OP_MSG
                    self.request.sendall(HEADER.pack(HEADER.size + len(said), 0, asked, reply) + said)

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError("it hangs up")
        return data

    def _said(self, opcode: int, body: bytes) -> bytes:
        """The answer, which is empty if none is wanted."""
        answer = self.server.commands.answer
        if opcode == OP_QUERY:
            query = body[body.index(b"\0", 4) + 9 :]  # behind flags, the collection's name, and two numbers
            return struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(answer(bson.decode(query)))
        asked, wanted = message(body)
        found = bson.encode(answer(asked))
        return struct.pack("<IB", 0, 0) + found if wanted else b""


class Listener(ThreadingTCPServer):
    allow_reuse_address = True

    def __init__(self, port: int, commands: Commands) -> None:
        self.commands, self.peers = commands, list[socket.socket]()
        super().__init__(("127.0.0.1", port), Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        found = super().get_request()
        self.peers.append(found[0])
        return found


class MongoServer:
    """`commands` has its data, which stay while it is stopped."""

    def __init__(self) -> None:
        self.commands, self.port = Commands(), 0
        self.start()

    def start(self) -> None:
        """On the port that it had."""
        self._listener = Listener(self.port, self.commands)
        self.port = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """It hangs up: what it was asked may be done, and nobody is told."""
        self._listener.shutdown()
        for peer in self._listener.peers:
            with suppress(OSError):  # who has hung up himself
                peer.shutdown(socket.SHUT_RDWR)
        self._listener.server_close()  # once all who were served are gone
        self._thread.join()
