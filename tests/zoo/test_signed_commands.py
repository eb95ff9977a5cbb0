"""Signing as people do it: publish signed, pull and verify demanding it, in two state folders."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.journeys.conftest import SCRIPTS
from tests.zoo.test_sign import FOUND, needs_tool, write_keys
from zoo.sign import TOOL

pytestmark = needs_tool


class Person:
    """Somebody with a state folder of his own."""

    def __init__(self, home: Path) -> None:
        self.environment = {**os.environ, "POCKETZOO_HOME": str(home), TOOL: str(FOUND)}

    def zoo(self, *argv: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(SCRIPTS / "zoo"), *map(str, argv)], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done


@pytest.fixture
def publisher(tmp_path: Path, tiny_tflite: Path) -> Person:
    (tmp_path / "share").mkdir()
    person = Person(tmp_path / "publisher")
    person.zoo("add", tiny_tflite, "--name", "tiny")
    person.zoo("remote", "add", "share", tmp_path / "share")
    return person


@pytest.fixture
def user(tmp_path: Path, publisher: Person) -> Person:
    person = Person(tmp_path / "user")
    person.zoo("remote", "add", "share", tmp_path / "share")
    return person


def test_signed_published_demanded(publisher: Person, user: Person, tmp_path: Path, tiny_tflite: Path) -> None:
    private, public = write_keys(tmp_path, "publisher-key")
    _, stranger = write_keys(tmp_path, "stranger")

    publisher.zoo("push", "tiny")
    said = user.zoo("pull", "tiny", "--require-signature", "--public-key", public, code=1).stderr
    assert "is not signed" in said
    assert user.zoo("list").stdout == ""

    assert json.loads(publisher.zoo("push", "tiny", "--signing-key", private, "--json").stdout)["signed"]
    again = json.loads(publisher.zoo("push", "tiny", "--sign", "--signing-key", private, "--json").stdout)
    assert (again["changed"], again["blobs_sent"]) == (False, 0)

    assert "does not hold" in user.zoo("pull", "tiny", "--public-key", stranger, code=1).stderr
    assert user.zoo("list").stdout == ""
    assert "nobody is trusted" in user.zoo("pull", "tiny", "--require-signature", code=2).stderr
    assert "publisher-key.pub" in user.zoo("pull", "tiny", "--require-signature", "--public-key", public).stderr
    # Now out of the store, and demanded again.
    user.zoo("pull", "tiny", "--offline", "--require-signature", "--public-key", public)
    user.zoo("pull", "tiny", "--offline", "--require-signature", "--public-key", stranger, code=1)

    assert "signed by key" in user.zoo("verify", "--require-signature", "--public-key", public).stdout
    findings = json.loads(user.zoo("verify", "--public-key", stranger, "--json", code=1).stdout)["findings"]
    assert [f["check"] for f in findings if not f["ok"]] == ["signature"]


def test_one_file_under_two_names_has_two_signatures(
    publisher: Person, user: Person, tmp_path: Path, tiny_tflite: Path
) -> None:
    private, public = write_keys(tmp_path, "key")
    publisher.zoo("add", tiny_tflite, "--name", "other")
    for name in ("tiny", "other"):
        publisher.zoo("push", name, "--signing-key", private)
    for name in ("tiny", "other"):
        user.zoo("pull", name, "--public-key", public)
    user.zoo("verify", "--public-key", public)


def test_a_remote_that_exchanges_the_manifest_is_caught(publisher: Person, user: Person, tmp_path: Path) -> None:
    """The files are what they were; only what is said of them is not."""
    private, public = write_keys(tmp_path, "key")
    publisher.zoo("push", "tiny", "--signing-key", private)
    (manifest,) = (tmp_path / "share" / "entries" / "tiny").glob("*.json")
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(document | {"licence": "Public Domain"}))
    assert "does not hold" in user.zoo("pull", "tiny", "--public-key", public, code=1).stderr
    assert user.zoo("list").stdout == ""
    # The same content in other bytes is the same manifest: the store writes it canonically, and that was signed.
    manifest.write_text(json.dumps(document))
    user.zoo("pull", "tiny", "--public-key", public)


def test_an_encrypted_key_a_missing_key_and_the_environment(publisher: Person, tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path, "key")
    assert "no such private key" in publisher.zoo("push", "tiny", "--signing-key", tmp_path / "no", code=2).stderr
    publisher.environment["POCKETZOO_SIGNING_KEY"] = str(private)
    assert json.loads(publisher.zoo("push", "tiny", "--sign", "--json").stdout)["signed"]
    publisher.environment[TOOL] = str(tmp_path / "missing")
    assert "pip install 'pocketzoo[sign]'" in publisher.zoo("verify", "--public-key", private, code=2).stderr
