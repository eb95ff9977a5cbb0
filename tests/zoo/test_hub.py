"""The Hub as a remote, through the real huggingface_hub against a Hub on loopback."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_bytes
from tests.contracts.remote_contract import RemoteContract, change_for, fetched
from tests.lab.hub import HubServer
from tests.records import measurement_for
from tests.zoo.conftest import artifact_for
from tests.zoo.hubs import TOKEN, remote_at
from zoo.artifact import Artifact, FileRecord, Parent, encode
from zoo.backends.hub import open_hub
from zoo.backends.hub_place import parse_place
from zoo.backends.protocol import Change, Published, Remote
from zoo.push import push
from zoo.store import Store


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(tokens=(TOKEN,), page=7) as server:
        yield server
    assert server.complaints == []


class TestOneRepositoryForEachName(RemoteContract):
    @pytest.fixture
    def make_remote(self, hub: HubServer) -> Callable[[], Remote]:
        return lambda: remote_at(hub)


class TestOneRepositoryForAllNames(RemoteContract):
    @pytest.fixture
    def make_remote(self, hub: HubServer) -> Callable[[], Remote]:
        return lambda: remote_at(hub, "hf://acme/zoo")


def files_in(hub: HubServer, repository: str) -> dict[str, bytes]:
    head = hub.storage.repositories[repository].head
    return {path: hub.storage.content(file) for path, file in head.files.items() if path != ".gitattributes"}


def put(remote: Remote, change: Change) -> Published:
    return remote.put(change, remote.snapshot(change.name))


class TestLayout:
    def test_the_newest_file_lies_at_the_top_and_the_older_ones_apart(self, hub: HubServer, tmp_path: Path) -> None:
        remote = remote_at(hub)
        first = change_for(tmp_path, content=b"first" * 100, tags=("latest", "v1"), measured=1)
        second = change_for(tmp_path, content=b"second" * 100)
        put(remote, first)
        assert set(files_in(hub, "acme/tiny-model")) == {
            "README.md",
            "tiny-model.tflite",
            "pocketzoo/tags.json",
            f"pocketzoo/entries/{first.digest}.json",
            f"pocketzoo/measurements/{first.digest}/{next(iter(first.measurements))}",
        }
        put(remote, second)
        files = files_in(hub, "acme/tiny-model")
        assert files["tiny-model.tflite"] == b"second" * 100
        assert files[f"pocketzoo/files/{first.digest}/tiny-model.tflite"] == b"first" * 100
        put(remote, first)  # latest goes back
        files = files_in(hub, "acme/tiny-model")
        assert files["tiny-model.tflite"] == b"first" * 100
        assert files[f"pocketzoo/files/{second.digest}/tiny-model.tflite"] == b"second" * 100
        assert f"pocketzoo/files/{first.digest}/tiny-model.tflite" not in files
        assert len(hub.sent("PUT", "/upload/")) == 2  # each file travelled once
        assert fetched(remote, first) == b"first" * 100
        assert fetched(remote, second) == b"second" * 100

    def test_an_entry_that_is_not_the_latest_lies_apart(self, hub: HubServer, tmp_path: Path) -> None:
        remote = remote_at(hub)
        first, other = change_for(tmp_path), change_for(tmp_path, content=b"other", tags=("v0",))
        put(remote, first)
        put(remote, other)
        files = files_in(hub, "acme/tiny-model")
        assert files["tiny-model.tflite"] == b"weights" * 1000
        assert files[f"pocketzoo/files/{other.digest}/tiny-model.tflite"] == b"other"
        assert fetched(remote, other) == b"other"

    def test_a_file_that_is_not_ours_is_not_replaced(self, hub: HubServer, tmp_path: Path) -> None:
        repository = hub.storage.create("acme/tiny-model")
        body = b'{"key": "header", "value": {"summary": "mine"}}\n'
        hub.storage.large["ab" * 32] = b"mine"
        line = {"path": "tiny-model.tflite", "algo": "sha256", "oid": "ab" * 32}
        body += json.dumps({"key": "lfsFile", "value": line}).encode()
        hub.storage.commit(repository, "main", body, hub.complaints.append)
        remote = remote_at(hub)
        change = change_for(tmp_path)
        put(remote, change)
        files = files_in(hub, "acme/tiny-model")
        assert files["tiny-model.tflite"] == b"mine"
        assert files[f"pocketzoo/files/{change.digest}/tiny-model.tflite"] == b"weights" * 1000
        assert fetched(remote, change) == b"weights" * 1000

    @pytest.mark.parametrize("name", ["README.md", "readme.MD", "pocketzoo"])
    def test_a_model_file_with_a_name_of_the_layout_lies_apart(self, hub: HubServer, tmp_path: Path, name: str) -> None:
        data = b"a model\0" * 10
        record = FileRecord(name=name, sha256=sha256_bytes(data), size=len(data))
        artifact = Artifact(name="odd", format="tflite", files=(record,))
        (tmp_path / "model").write_bytes(data)
        change = Change(
            "odd", record.sha256, encode(artifact), {record: tmp_path / "model"}, ("latest",), {}, b"# Odd\n"
        )
        remote = remote_at(hub)
        put(remote, change)
        assert b"# Odd" in files_in(hub, "acme/odd")["README.md"]
        assert fetched(remote, change) == data

    def test_several_files_and_text_files_come_back(self, hub: HubServer, tmp_path: Path) -> None:
        contents = {"net.onnx": b"\0net" * 50, "labels.txt": b"cat\ndog\n", "empty.txt": b""}
        records = {}
        for name, data in contents.items():
            (tmp_path / name).write_bytes(data)
            records[FileRecord(name=name, sha256=sha256_bytes(data), size=len(data))] = tmp_path / name
        artifact = Artifact(name="net", format="onnx", files=tuple(records))
        change = Change("net", artifact.digest, encode(artifact), records, ("latest",), {}, b"# Net\n")
        remote = remote_at(hub)
        put(remote, change)
        assert not put(remote, change).changed
        for record in records:
            with remote.blob("net", change.digest, record, 0) as body:
                assert b"".join(body.chunks) == contents[record.name]
        newer = change_for(tmp_path, "net", b"newer")
        put(remote, newer)
        for record in records:
            with remote.blob("net", change.digest, record, 0) as body:
                assert b"".join(body.chunks) == contents[record.name]
        assert set(files_in(hub, "acme/net")) >= {f"pocketzoo/files/{change.digest}/{name}" for name in contents}
        assert "labels.txt" not in files_in(hub, "acme/net")

    def test_putting_it_again_asks_and_commits_nothing(self, hub: HubServer, tmp_path: Path) -> None:
        remote = remote_at(hub)
        change = change_for(tmp_path, measured=2)
        put(remote, change)
        hub.asked.clear()
        assert not put(remote, dataclasses.replace(change, card=b"# Worded differently\n")).changed
        assert [asked for asked in hub.asked if asked.method not in ("GET", "HEAD")] == []
        assert len(hub.storage.repositories["acme/tiny-model"].commits) == 2

    def test_the_parent_is_named_where_the_hub_has_it(self, hub: HubServer, tmp_path: Path) -> None:
        parent = change_for(tmp_path, "net", b"net")
        made_from = Parent(digest=parent.digest, name="net", relation="quantized")
        child = change_for(tmp_path, "net-quant", b"net-quant", parent=made_from)
        remote = remote_at(hub)
        put(remote, child)
        assert b"base_model" not in files_in(hub, "acme/net-quant")["README.md"]
        put(remote, parent)
        put(remote, dataclasses.replace(child, tags=("latest", "v2")))
        data = ModelCard(files_in(hub, "acme/net-quant")["README.md"].decode()).data.to_dict()
        assert data == {"base_model": "acme/net", "base_model_relation": "quantized", "tags": ["pocketzoo"]}

    def test_the_card_tells_also_what_others_measured(self, hub: HubServer, tmp_path: Path) -> None:
        mine, theirs = Store(tmp_path / "mine"), Store(tmp_path / "theirs")
        (tmp_path / "weights").write_bytes(b"weights")
        artifact = artifact_for(tmp_path / "weights")
        for store, threads in ((mine, 1), (theirs, 2)):
            store.add(artifact, {artifact.files[0].name: tmp_path / "weights"})
            store.attach(measurement_for(artifact, threads=threads, key=str(threads) * 64))
            push(store, remote_at(hub), store.get("tiny-model"), tags=("latest",))
        data = ModelCard(files_in(hub, "acme/tiny-model")["README.md"].decode()).data
        assert [result.metric_args["threads"] for result in data.eval_results or ()] == [1, 2]
        assert b"zoo remote add published hf://acme\n" in files_in(hub, "acme/tiny-model")["README.md"]
        hub.asked.clear()
        assert not push(mine, remote_at(hub), mine.get("tiny-model"), tags=("latest",)).changed
        assert hub.sent("GET", "/measurements/") == []

    @pytest.mark.parametrize("ignored", [r"\.tflite$", r"entries/"])
    def test_a_gitignore_that_would_take_a_file_out_is_told(self, hub: HubServer, tmp_path: Path, ignored: str) -> None:
        hub.ignored = ignored
        with pytest.raises(WorkFailed, match="gitignore"):
            put(remote_at(hub), change_for(tmp_path))
        assert remote_at(hub).snapshot("tiny-model") is None

    def test_one_repository_for_all_names_has_a_card_of_its_own(self, hub: HubServer, tmp_path: Path) -> None:
        remote = remote_at(hub, "hf://acme/zoo")
        put(remote, change_for(tmp_path, "a"))
        assert b"tags:\n- pocketzoo" in files_in(hub, "acme/zoo")["README.md"]
        put(remote, change_for(tmp_path, "b"))
        assert set(hub.storage.repositories) == {"acme/zoo"}
        assert {"a/a.tflite", "b/b.tflite", "a/README.md"} <= set(files_in(hub, "acme/zoo"))

    def test_the_hubs_own_download_gets_the_file(self, hub: HubServer, tmp_path: Path) -> None:
        from huggingface_hub import hf_hub_download

        put(remote_at(hub), change_for(tmp_path))
        path = hf_hub_download(
            "acme/tiny-model", "tiny-model.tflite", local_dir=tmp_path / "down", endpoint=hub.endpoint, token=False
        )
        assert Path(path).read_bytes() == b"weights" * 1000


def test_publishers_at_once_in_one_repository_lose_nothing(hub: HubServer, tmp_path: Path) -> None:
    """8 publishers x 3 entries, one repository for all: every commit competes with seven others."""
    changes = [[change_for(tmp_path, f"m{p}-{n}", f"{p} {n}".encode()) for n in range(3)] for p in range(8)]
    problems: list[BaseException] = []

    def publish(mine: list[Change]) -> None:
        try:
            with closing(remote_at(hub, "hf://acme/zoo")) as remote:
                for change in mine:
                    remote.put(change, None)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=publish, args=(mine,)) for mine in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert problems == []
    remote = remote_at(hub, "hf://acme/zoo")
    flat = [change for mine in changes for change in mine]
    assert remote.names() == tuple(sorted(change.name for change in flat))
    for change in flat[::5]:
        assert sha256_bytes(fetched(remote, change)) == change.digest
    assert len(hub.storage.repositories["acme/zoo"].commits) == 1 + len(flat)


class TestAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "hf://", "hf://a/b/c", "hf://a?token=secret", "hf://a?private=perhaps", "hf://u:secret@a", "hf:///a",
            "https://a", "hf://a/../b", "hf://-a", "hf://a?private=true&x=1", "hf://a#b",
        ],
    )  # fmt: skip
    def test_what_is_no_address_is_refused_without_repeating_it(self, url: str) -> None:
        with pytest.raises(BadInput) as problem:
            open_hub(url)
        assert "secret" not in problem.value.as_text()

    @given(st.text(alphabet="hf:/aB1-._?=&privatetrue%\\ \n", max_size=40))
    def test_any_text_is_parsed_or_refused(self, text: str) -> None:
        try:
            place = parse_place(f"hf://{text}")
        except BadInput:
            return
        assert parse_place(str(place)) == dataclasses.replace(place, private=False)
        assert "/" not in place.owner

    @pytest.mark.parametrize(
        "endpoint", ["ftp://a", "https://u:secret@hub", "hub", "https://hub:port", "https://h?a=b"]
    )
    def test_an_endpoint_that_is_none(self, endpoint: str) -> None:
        with pytest.raises(BadInput) as problem:
            open_hub("hf://acme", endpoint=endpoint)
        assert "secret" not in problem.value.as_text()

    def test_a_name_the_hub_does_not_allow(self, hub: HubServer, tmp_path: Path) -> None:
        change = change_for(tmp_path, "a--b")
        with pytest.raises(BadInput, match="a--b"):
            remote_at(hub).put(change, None)
        remote = remote_at(hub, "hf://acme/zoo")
        remote.put(change, None)
        assert remote.names() == ("a--b",)

    def test_only_models_of_this_owner_with_our_tag_are_listed(self, hub: HubServer, tmp_path: Path) -> None:
        remote_at(hub).put(change_for(tmp_path), None)
        remote_at(hub, "hf://other").put(change_for(tmp_path, "theirs"), None)
        hub.storage.create("acme/something-else")
        assert remote_at(hub).names() == ("tiny-model",)


PUBLISH = """
import sys
from pathlib import Path
from tests.contracts.remote_contract import change_for, fetched
from zoo.backends.hub import open_hub
remote = open_hub("hf://acme")
assert "huggingface_hub" not in sys.modules and "httpx2" not in sys.modules
change = change_for(Path(sys.argv[1]))
assert remote.put(change, None).changed
assert fetched(remote, change) == b"weights" * 1000
"""


def test_a_process_of_its_own_asks_nobody_else_and_says_nothing(hub: HubServer, tmp_path: Path) -> None:
    """HF_ENDPOINT and HF_TOKEN decide; no telemetry, no progress bar, no Xet, no warning."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [asked for asked in hub.asked if "agent" in asked.path]
    assert len(hub.sent("PUT", "/upload/")) == 1
    assert not (tmp_path / "hf").exists()
