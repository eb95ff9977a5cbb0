"""Whatever is put in whatever order: every entry's files are found, and nothing that is not ours is replaced."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketzoo.files import sha256_bytes
from zoo.artifact import FileRecord
from zoo.backends.hub_layout import (
    TAGS,
    Contents,
    Held,
    Listed,
    belongs,
    carded,
    decode_tags,
    encode_tags,
    git_oid,
    plan,
    with_base,
)
from zoo.backends.protocol import Change
from zoo.reference import DIGEST, TAG, matches


@dataclass
class Repository:
    """A repository in memory: what a commit of a plan leaves."""

    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)
    records: dict[str, tuple[FileRecord, ...]] = field(default_factory=dict)

    def held(self) -> Held:
        listed = {}
        for path, data in self.files.items():
            oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            listed[path] = Listed(len(data), oid, sha256_bytes(data) if b"\0" in data else None)
        return Held("0" * 40, listed)

    def put(self, change: Change) -> None:
        held = self.held()
        top = held.at_top
        manifest = self.files.get(f"pocketzoo/entries/{change.digest}.json")
        now = Contents(decode_tags(self.files.get(TAGS)), manifest, None, self.records[top] if top else ())
        todo = plan(change, held, now)
        before = dict(self.files)
        for path, source in todo.copies.items():
            self.files[path] = before[source]
        for path, record in todo.blobs.items():
            self.files[path] = change.blobs[record].read_bytes()
        self.files.update(todo.small)
        for path in todo.gone:
            del self.files[path]
        self.records[change.digest] = tuple(change.blobs)


NAMES = ("net.tflite", "labels.txt", "README.md", "theirs.bin")
entries = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([b"a", b"b", b"\0c", b"\0d", b""]), min_size=1)
tags = st.sets(st.sampled_from(["latest", "v1", "v2"]))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(entries, tags), min_size=1, max_size=7))
def test_every_entry_is_found_whatever_was_put(puts: list[tuple[dict[str, bytes], set[str]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder), {"theirs.bin": b"not ours"})
        contents: dict[str, dict[str, bytes]] = {}
        tagged: dict[str, str] = {}
        for number, (files, wanted) in enumerate(puts):
            # The first file names an entry; the same first file with others is another manifest of the same entry,
            # which a zoo replaces: here each entry keeps its files.
            digest = sha256_bytes(repr(sorted(files.items())).encode())
            blobs = {}
            for name, data in files.items():
                path = repository.folder / sha256_bytes(data)
                path.write_bytes(data)
                blobs[FileRecord(name=name, sha256=sha256_bytes(data), size=len(data))] = path
            change = Change("net", digest, digest.encode(), blobs, tuple(wanted), {}, b"# %d\n" % number)
            repository.put(change)
            contents[digest] = files
            tagged |= dict.fromkeys(wanted, digest)
            again = dict(repository.files)
            repository.put(change)
            assert repository.files == again
            held = repository.held()
            assert set(held.digests) == set(contents)
            assert decode_tags(repository.files.get(TAGS)) == tagged
            assert repository.files["theirs.bin"] == b"not ours"
            assert repository.files["README.md"].startswith(b"---\n")
            for known, expected in contents.items():
                for record in repository.records[known]:
                    path_there = held.path_of(known, record)
                    assert path_there is not None
                    assert repository.files[path_there] == expected[record.name]
            apart = {path.split("/")[2] for path in repository.files if path.startswith("pocketzoo/files/")}
            assert len(set(contents) - apart) <= 1
            top = {path for path in repository.files if "/" not in path} - {"README.md", "theirs.bin"}
            assert top == (set(contents[held.at_top]) if held.at_top else set())
            latest = tagged.get("latest")
            if latest and latest == digest and not {"README.md", "theirs.bin"} & set(files):
                assert held.at_top == latest


@given(st.text(max_size=40) | st.from_regex(r"pocketzoo/[a-z]{0,9}/[0-9a-f]{60,66}(/[a-z./-]{1,20})?", fullmatch=True))
def test_a_path_of_the_layout_leads_nowhere_else(path: str) -> None:
    if belongs(path):
        parts = path.split("/")
        assert all(part and not part.startswith(".") and part.isprintable() and "\\" not in part for part in parts)
        assert len(parts) in (1, 2, 3, 4)


@given(st.dictionaries(st.from_regex(TAG, fullmatch=True), st.from_regex(DIGEST, fullmatch=True), max_size=5))
def test_tags_come_back(tags: dict[str, str]) -> None:
    assert decode_tags(encode_tags(tags)) == tags


@given(
    st.binary(max_size=60) | st.sampled_from([b'{"a": 1}', b"[]", b"[" * 100_000, b'{"latest": "x"}', b'{"../x": "y"}'])
)
def test_any_bytes_are_tags_or_refused(data: bytes) -> None:
    try:
        found = decode_tags(data)
    except ValueError:
        return
    assert all(matches(TAG, tag) and matches(DIGEST, digest) for tag, digest in found.items())


def test_the_name_git_gives_a_file(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_oid(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


@pytest.mark.parametrize("card", [b"# A\n", b"---\nlicense: mit\n---\n# A\n", b""])
def test_a_card_is_found_by_its_head(card: bytes) -> None:
    text = carded(card)
    assert text.startswith(b"---\n")
    assert carded(text) == text
    named = with_base(text, "acme/net", None)
    assert named.startswith(b"---\nbase_model: acme/net\n")
    assert with_base(named, "acme/other", "quantized") == named
