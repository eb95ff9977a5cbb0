"""The Hub as a remote, through the real huggingface_hub against a Hub on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pocketzoo.files import sha256_bytes
from tests.contracts.remote_contract import RemoteContract, change_for, fetched, the_record
from tests.lab.hub import HubServer
from zoo.backends.hub import HubRemote, open_hub
from zoo.backends.protocol import Moved, Remote, RemoteDenied

TOKEN = "hf_ThisTokenIsSecret0123456789"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(tokens=(TOKEN,), page=7) as server:
        yield server
    assert server.complaints == []


def remote_at(hub: HubServer, url: str = "hf://acme", token: str = TOKEN) -> Remote:
    return open_hub(url, token=token, endpoint=hub.endpoint)


class TestOneRepositoryForEachName(RemoteContract):
    @pytest.fixture
    def make_remote(self, hub: HubServer) -> Callable[[], Remote]:
        return lambda: remote_at(hub)


class TestOneRepositoryForAllNames(RemoteContract):
    @pytest.fixture
    def make_remote(self, hub: HubServer) -> Callable[[], Remote]:
        return lambda: remote_at(hub, "hf://acme/zoo")
