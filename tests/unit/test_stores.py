"""Which file system a URL has, with what it is opened, and what its errors mean."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from sqlstream.connectors import paths
from sqlstream.errors import OptionError
from sqlstream.session import Session
from sqlstream.stores import Stores, hint

GIVEN = {
    "gs.storage.root.url": "localhost:4443", "gs.auth.service.account.json.keyfile": "/etc/key.json", "fs.azure.account.name": "acc",
    "fs.azure.account.key": "very hidden", "fs.azure.connection-string": "AccountKey=very hidden too", "s3.endpoint": "store:9000",
}  # fmt: skip


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """With what fsspec is asked for file systems, by their schemes."""
    found: dict[str, Any] = {}

    def url_to_fs(url: str, **options: Any) -> tuple[str, str]:
        found[url.partition("://")[0]] = options
        return "fs", url

    monkeypatch.setattr("fsspec.core.url_to_fs", url_to_fs)
    return found


def test_options_of_the_session_are_the_file_systems(opened: dict[str, Any]) -> None:
    """By the names that gcsfs and adlfs have for them; none keeps listings, which would hide new objects."""
    stores = Session(options=GIVEN).environment.stores
    for url in ("s3://b/x", "gs://b/x", "abfs://c@a.dfs.core.windows.net/x", "az://c/x", "memory://x"):
        stores.filesystem(url)
    assert opened["gs"] == {
        "use_listings_cache": False,
        "endpoint_url": "https://localhost:4443",
        "token": "/etc/key.json",
    }
    assert opened["abfs"] == opened["az"] == {
        "use_listings_cache": False, "account_name": "acc", "account_key": "very hidden", "connection_string": "AccountKey=very hidden too",
    }  # fmt: skip
    assert (
        opened["s3"] == {"use_listings_cache": False, "endpoint_url": "https://store:9000"} and opened["memory"] == {}
    )
    assert "hidden" not in repr(stores)
    Stores(gs_key_file="anon").filesystem("gcs://b/x")
    assert opened["gcs"]["token"] == "anon"
    Stores().filesystem("gs://b/x")
    assert opened["gs"] == {"use_listings_cache": False}  # all else comes from the environment


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("s3://b/x", "s3fs", "s3"), ("gs://b/x", "gcsfs", "gcs"), ("abfs://c/x", "adlfs", "azure")],
)
def test_a_missing_package_is_told_with_its_extra(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.registry import _registry

    for name in ("s3", "gs", "abfs"):
        monkeypatch.delitem(_registry, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OptionError) as e:
        Stores().filesystem(url)
    assert f"pip install 'sqlstream-engine[{extra}]'" in str(e.value.hint)


def test_hints_say_what_to_look_at() -> None:
    for scheme, who, where in (
        ("s3", "s3.access-key", "s3.endpoint"),
        ("gs", "gs.auth.service.account.json.keyfile", "gs.storage.root.url"),
        ("abfss", "fs.azure.account.key", "fs.azure.account.name"),
    ):
        url = f"{scheme}://b/x"
        assert f"'{who}'" in str(hint(PermissionError("no"), url)) and f"'{where}'" in str(
            hint(ConnectionError("no"), url)
        )
    assert "make the bucket" in str(hint(FileNotFoundError("the bucket does not exist"), "gs://b"))
    assert "make the container" in str(hint(FileNotFoundError("The specified container does not exist"), "abfs://b"))
    assert hint(PermissionError("no"), "memory://x") is None and hint(FileNotFoundError("x"), "gs://b/x") is None


def test_urls_of_files_keep_the_account_behind_the_container() -> None:
    at = "abfs://data@acc.dfs.core.windows.net/in"
    assert paths._url(at, "data/in/a.json") == "abfs://data@acc.dfs.core.windows.net/in/a.json"
    assert paths._url("gs://b/in", "b/in/a.json") == "gs://b/in/a.json"
    assert paths._url("memory://b/in", "/b/in/a.json") == "memory://b/in/a.json"
