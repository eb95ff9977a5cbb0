"""Remotes on a Hub on loopback, for tests."""

from __future__ import annotations

from pathlib import Path

from tests.contracts.remote_contract import change_for
from tests.lab.hub import HubServer
from zoo.backends.hub import open_hub
from zoo.backends.protocol import Change, Remote

TOKEN = "hf_ThisTokenIsSecret0123456789"
CONTENT = bytes(range(256)) * 5000  # 1.3 MB, so that half of it is worth keeping


def remote_at(hub: HubServer, url: str = "hf://acme", token: str = TOKEN) -> Remote:
    return open_hub(url, token=token, endpoint=hub.endpoint)


def publish(remote: Remote, folder: Path) -> Change:
    made = change_for(folder, content=CONTENT, measured=1)
    remote.put(made, None)
    return made
