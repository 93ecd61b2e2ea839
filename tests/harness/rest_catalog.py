"""A REST catalog of Iceberg on loopback: the specification's calls, over a catalog in SQLite."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest
from werkzeug.serving import make_server

CODES = {
    NoSuchTableError: 404, NoSuchNamespaceError: 404, NamespaceAlreadyExistsError: 409, TableAlreadyExistsError: 409,
    CommitFailedException: 409,
}  # fmt: skip


class RestCatalogServer:
    """`token`: what requests must bear. `commits`: how many came."""

    def __init__(self, directory: Path, token: str) -> None:
        self.catalog = SqlCatalog("served", uri=f"sqlite:///{directory}/rest.db", warehouse=str(directory / "rest"))
        self.token, self.commits = token, 0
        app = Flask("rest")
        lock = threading.Lock()

        @app.before_request
        def authorized() -> Any:
            if request.headers.get("Authorization") != f"Bearer {token}":
                return jsonify(
                    {"error": {"message": "who are you?", "type": "NotAuthorizedException", "code": 401}}
                ), 401
            return None

        @app.errorhandler(Exception)
        def failed(e: Exception) -> Any:
            code = next((c for kind, c in CODES.items() if isinstance(e, kind)), 500)
            return jsonify({"error": {"message": str(e), "type": type(e).__name__, "code": code}}), code

        @app.get("/v1/config")
        def config() -> Any:
            return jsonify({"defaults": {}, "overrides": {}})

        @app.post("/v1/namespaces")
        def create_namespace() -> Any:
            said = request.get_json()
            self.catalog.create_namespace(tuple(said["namespace"]))
            return jsonify({"namespace": said["namespace"], "properties": {}})

        @app.post("/v1/namespaces/<namespace>/tables")
        def create_table(namespace: str) -> Any:
            said = request.get_json()
            spec = said.get("partition-spec")
            table = self.catalog.create_table(
                (namespace, said["name"]), Schema.model_validate(said["schema"]),
                partition_spec=PartitionSpec.model_validate(spec) if spec else UNPARTITIONED_PARTITION_SPEC,
                properties=said.get("properties") or {},
            )  # fmt: skip
            return loaded(table)

        @app.get("/v1/namespaces/<namespace>/tables/<name>")
        def load_table(namespace: str, name: str) -> Any:
            return loaded(self.catalog.load_table((namespace, name)))

        @app.post("/v1/namespaces/<namespace>/tables/<name>")
        def commit_table(namespace: str, name: str) -> Any:
            with lock:
                self.commits += 1
                said = CommitTableRequest.model_validate_json(request.get_data())
                table = self.catalog.load_table((namespace, name))
                done = self.catalog.commit_table(table, said.requirements, said.updates)
            return done.model_dump_json(by_alias=True), 200, {"Content-Type": "application/json"}

        def loaded(table: Any) -> Any:
            body = f'{{"metadata-location": "{table.metadata_location}", "metadata": {table.metadata.model_dump_json(by_alias=True)}, "config": {{}}}}'
            return body, 200, {"Content-Type": "application/json"}

        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.uri = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.catalog.close()
