"""``zoo pull`` and ``zoo push`` killed with signal 9 at random moments: is anything half seen, lost, or in the way?

``python -m benchmarks.zoo_kills_remote [--kills 200] [--seed N]``

Pulls from a folder, nginx, an sshd and a Hub on loopback, pushes to a folder, the sshd and the Hub. After each kill
what a reader sees is verified byte by byte, the same command runs again and must succeed, and all is verified again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import getpass
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import show
from tests.devices import sshd
from tests.lab.hub.server import HubServer
from tests.zoo import hostile
from tests.zoo.killing import Killed, pulls, pushes
from zoo.backends.directory import open_directory

Campaign = Callable[[Path, str, int, int], Killed]
TOKEN = "hf_benchmark"


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20261121)
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        here = Path(folder)
        done = _all(here, stack, options.kills, options.seed)
    rows = [
        {
            "way": each.way,
            "kills": each.kills,
            "ended before": each.too_late,
            "seen whole after it": each.seen_whole,
            "with bytes to go on with": each.resumed if each.way.startswith("pull") else None,
            "half seen, lost or in the way": len(each.wrong),
        }
        for each in done
    ]
    total = sum(each.kills for each in done)
    show("zoo kills, remotes", rows, f"{total} kills, seed {options.seed}, {time.monotonic() - start:.0f} s.")
    for each in done:
        print(*(f"{each.way}: {text}" for text in each.wrong), sep="\n", end="")
    return 1 if any(each.wrong for each in done) else 0


def _all(here: Path, stack: contextlib.ExitStack, kills: int, seed: int) -> list[Killed]:
    os.environ["POCKETZOO_HOME"] = str(here / "nobody")
    hub = stack.enter_context(HubServer(port=0, tokens=(TOKEN,), cdn=False))
    os.environ.update({"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(here / "hf")})
    for name in ("share", "over-sftp"):
        (here / name).mkdir()
    folder = (here / "share").as_uri()
    ways: list[tuple[Campaign, str]] = [
        (pulls, folder),
        (pushes, folder),
        (pulls, "hf://bench"),
        (pushes, "hf://bench"),
    ]
    if sshd.available():
        (here / "sshd").mkdir()
        server = stack.enter_context(sshd.running(here / "sshd"))
        _ssh_home(here, server)
        url = f"sftp://127.0.0.1:{server.port}{here}/over-sftp"
        ways += [(pulls, url), (pushes, url)]
    if hostile.NGINX is not None:
        # Published to the folder, pulled from the server that shows it.
        web = stack.enter_context(hostile.nginx(here / "share", here / "nginx"))
        ways.append((functools.partial(pulls, publish_to=open_directory(here / "share")), web))
    each = -(-kills // len(ways))
    found = []
    for number, (campaign, url) in enumerate(ways):
        own = here / f"way{number}"
        own.mkdir()
        found.append(campaign(own, url, each, seed + number))
        print(f"{found[-1].way}: {found[-1].kills} kills, {len(found[-1].wrong)} wrong", file=sys.stderr, flush=True)
    return found


def _ssh_home(here: Path, server: sshd.Sshd) -> None:
    """A home folder whose ssh configuration knows the server."""
    ssh = here / "home" / ".ssh"
    ssh.mkdir(parents=True)
    (ssh / "config").write_text(
        f"Host 127.0.0.1\n  User {getpass.getuser()}\n  UserKnownHostsFile {server.known_hosts}\n"
        f"  IdentityFile {server.folder}/client\n",
        encoding="ascii",
    )
    os.environ["HOME"] = str(here / "home")


if __name__ == "__main__":
    sys.exit(main())
