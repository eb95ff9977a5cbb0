"""Which remotes there are: the list, its file, and what a URL may be."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from pocketzoo.home import home
from zoo.cli import zoo
from zoo.remotes import (
    VARIABLE,
    RemoteConfig,
    add_remote,
    check_url,
    load_remotes,
    open_remote,
    remove_remote,
    set_default,
    which,
)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_the_first_is_the_default_and_asked_first_until_another_is() -> None:
    add_remote("one", "/srv/one")
    add_remote("two", "https://host/zoo")
    add_remote("three", "hf://somebody", default=True)
    assert load_remotes().default == "three"
    assert [remote.name for remote in load_remotes().in_order()] == ["three", "one", "two"]
    set_default("two")
    assert [remote.name for remote in load_remotes().in_order()] == ["two", "one", "three"]
    assert which(None).name == "two"
    remove_remote("two")
    assert load_remotes().default is None
    with pytest.raises(BadInput, match="none is the default"):
        which(None)


def test_a_name_is_added_once_and_the_same_again_is_no_mistake() -> None:
    add_remote("one", "/srv/one")
    add_remote("one", "/srv/one")
    with pytest.raises(BadInput, match="there already"):
        add_remote("one", "/srv/other")
    assert [remote.url for remote in load_remotes().remotes] == ["file:///srv/one"]


@pytest.mark.parametrize("name", ["local", "environment", "A", "a b", "", "../x", "-a", "x" * 200])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        add_remote(name, "/srv/one")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    add_remote("share", "/srv/one")
    for ask in (which, remove_remote, set_default):
        with pytest.raises(BadInput) as caught:
            ask("shore")
        assert caught.value.detail == ("did you mean share?",)


def test_the_environment_names_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    add_remote("one", "/srv/one")
    add_remote("two", "/srv/two")
    monkeypatch.setenv(VARIABLE, "two")
    assert which(None).name == "two"
    monkeypatch.setenv(VARIABLE, "https://host/zoo")
    assert (which(None).url, len(load_remotes().remotes)) == ("https://host/zoo", 3)
    monkeypatch.setenv(VARIABLE, "three")
    with pytest.raises(BadInput):
        load_remotes()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/srv/zoo", "file:///srv/zoo"),
        ("/srv/my zoo/", "file:///srv/my%20zoo"),
        ("file:///srv/my%20zoo", "file:///srv/my%20zoo"),
        ("hf://owner", "hf://owner"),
        ("hf://owner/repo?private=true", "hf://owner/repo?private=true"),
        ("https://host:8443/zoo/", "https://host:8443/zoo"),
        ("sftp://me@host:22/srv/zoo", "sftp://me@host:22/srv/zoo"),
        ("s3://bucket/zoo", "s3://bucket/zoo"),
        ("memory://x/zoo", "memory://x/zoo"),
    ],
)
def test_a_url_is_kept_plainly(text: str, kept: str) -> None:
    assert check_url(text) == kept
    assert check_url(kept) == kept


def test_a_relative_folder_is_kept_with_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_url("zoo") == (tmp_path / "zoo").as_uri()


@pytest.mark.parametrize(
    "text",
    ["https://me:hunter2@host/zoo", "https://hunter2@host/zoo", "sftp://me:hunter2@host/x", "hf://user:hunter2@owner",
     "s3://key:hunter2@bucket", "s3://hunter2@bucket/x", "https://host/zoo?token=hunter2", "hf://owner?token=hunter2",
     "hf://owner/repo?private=true&token=hunter2", "https://host/zoo#hunter2"],
)  # fmt: skip
def test_a_secret_in_a_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        add_remote("secret", text)
    assert "hunter2" not in caught.value.as_text()
    done = CliRunner().invoke(zoo, ["remote", "add", "secret", text])
    assert done.exception is not None
    assert "hunter2" not in done.output + str(done.exception)
    assert not (home() / "remotes.json").exists()


@pytest.mark.parametrize(
    "text",
    ["", " ", "https://", "hf://", "ftp+x://h/y", "zip://x::https://h/y", "simplecache::s3://b/x", "tar://x", "https://h:99999/",
     "https://[bad", "https://h/../x", "https://h/%2e%2e/x", "file://host/x", "git://h/x", "a\nb", "reference://x"],
)  # fmt: skip
def test_what_is_no_url_of_ours_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        check_url(text)


@given(st.text())
def test_whatever_is_accepted_holds_no_password_and_is_accepted_again(text: str) -> None:
    from urllib.parse import urlsplit

    try:
        kept = check_url(text)
    except BadInput:
        return
    assert check_url(kept) == kept
    assert urlsplit(kept).password is None
    assert kept.isprintable()


def _add(own: str, number: int) -> None:
    import os

    os.environ["POCKETZOO_HOME"] = own
    add_remote(f"remote{number}", f"/srv/{number}")


def test_several_processes_add_at_once_and_lose_nothing() -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add, args=(str(home()), number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert {remote.name for remote in load_remotes().remotes} == {f"remote{n}" for n in range(4)}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": 99}', '{"remotes": [{"name": 1}]}', "\xff", "{}" + " " * (1 << 20)]
)
def test_a_damaged_list_is_told(text: str) -> None:
    home().mkdir(parents=True)
    (home() / "remotes.json").write_text(text, encoding="latin-1")
    with pytest.raises(BadInput) as caught:
        load_remotes()
    assert caught.value.where == str(home() / "remotes.json")


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(BadInput, match="this is none"):
        open_remote(RemoteConfig(name="x", url=path.as_uri()))


def test_the_commands() -> None:
    def run(*argv: str) -> str:
        done = CliRunner().invoke(zoo, ["remote", *argv], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    assert json.loads(run("list", "--json")) == []
    assert run("add", "share", "/srv/zoo") == "share  file:///srv/zoo  (default)\n"
    added = json.loads(run("add", "web", "https://host/zoo", "--read-only", "--json"))
    assert added == {"name": "web", "url": "https://host/zoo", "read_only": True, "default": False}
    assert run("default", "web") == "web  https://host/zoo  (default)\n"
    assert run("list") == "web    https://host/zoo  (default, read-only)\nshare  file:///srv/zoo\n"
    assert run("remove", "web") == "removed web  https://host/zoo\n"
    assert json.loads(run("list", "--json")) == [
        {"name": "share", "url": "file:///srv/zoo", "read_only": False, "default": False}
    ]
