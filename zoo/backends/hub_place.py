"""Which repositories of the Hub a remote is: ``hf://OWNER[/REPO][?private=true]``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pocketzoo.errors import BadInput
from zoo.backends.hub_client import HOSTED

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"


@dataclass(frozen=True)
class Place:
    """A parsed address of a remote on the Hub. ``repository`` None: one for each name."""

    owner: str
    repository: str | None
    private: bool

    def __str__(self) -> str:
        return f"hf://{self.owner}/{self.repository}" if self.repository else f"hf://{self.owner}"

    def repository_of(self, name: str) -> str:
        """The repository that holds a model.

        Raises:
            BadInput: the Hub allows no repository of that name.
        """
        if self.repository is None and ("--" in name or len(name) > 96):
            raise BadInput(
                f"the Hub allows no repository called {name}",
                hint="publish into one repository for all names: zoo remote add NAME hf://OWNER/REPO",
            )
        return f"{self.owner}/{self.repository or name}"

    def folder_of(self, name: str) -> str:
        """The model's folder in it, "" for all of it."""
        return name if self.repository else ""


def parse_place(url: str) -> Place:
    """Parse ``hf://OWNER[/REPO][?private=true]``.

    Raises:
        BadInput: it is something else. The text is not repeated where it may hold a password.
    """
    hint = "zoo remote add NAME hf://OWNER or hf://OWNER/REPO, with ?private=true for private repositories"
    match = re.fullmatch(rf"hf://({_PART})(?:/({_PART}))?/?(?:\?(.*))?", url)
    if match is None:
        raise BadInput("not the address of a remote on the Hub", hint=hint)
    settings = parse_qsl(match[3] or "", keep_blank_values=True)
    for key, value in settings:
        if key != "private" or value not in ("true", "false"):
            raise BadInput(f"a remote on the Hub has no setting {key!r} of that value", hint=hint)
    return Place(match[1], match[2], private=("private", "true") in settings)


def checked_endpoint(url: str) -> str:
    """A Hub's address without the slash at its end.

    Raises:
        BadInput: it is none. The text is not repeated: it may hold a password.
    """
    at = url.rstrip("/")
    try:
        parts = urlsplit(at)
        sound = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        sound = None
    if not sound or "@" in at:
        raise BadInput("HF_ENDPOINT is no address of a server", hint=f"export HF_ENDPOINT={HOSTED}")
    return at
