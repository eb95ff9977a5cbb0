"""Publishers at once on one Hub, each a process of its own: is any entry lost, and what does rivalry cost?

``python -m benchmarks.hub_publishers [--publishers 8] [--entries 25]``

Once with a repository for each name, and once with one repository for all, where every commit competes with all others.
Afterwards every entry is read back and its file hashed. Exit 1 if one is missing or wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.report import show
from pocketzoo.files import sha256_bytes
from tests.contracts.remote_contract import change_for
from tests.lab.hub import HubServer
from zoo.backends.hub import open_hub
from zoo.backends.protocol import Remote
from zoo.decode import decode_artifact

TOKEN = "hf_benchmark"


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--publishers", type=int, default=8)
    parser.add_argument("--entries", type=int, default=25)
    parser.add_argument("--publish", nargs=3, metavar=("URL", "NUMBER", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        url, number, folder = options.publish
        _publish(url, int(number), Path(folder), options.entries)
        return 0
    rows = [_together(url, options.publishers, options.entries) for url in ("hf://acme", "hf://acme/zoo")]
    show(
        "publishers at once on the Hub",
        rows,
        f"{options.publishers} processes x {options.entries} entries; a commit that comes second is decided anew.",
    )
    wanted = options.publishers * options.entries
    return 0 if all(row["sound entries"] == wanted and row["failed publishers"] == 0 for row in rows) else 1


def _publish(url: str, number: int, folder: Path, entries: int) -> None:
    with closing(open_hub(url)) as remote:
        for entry in range(entries):
            change = change_for(folder, f"m{number}-{entry}", f"{number} {entry}".encode(), measured=1)
            remote.put(change, None)


def _together(url: str, publishers: int, entries: int) -> dict[str, Any]:
    with HubServer(tokens=(TOKEN,)) as hub, tempfile.TemporaryDirectory() as folder:
        own = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": f"{folder}/hf"}
        begun = time.monotonic()
        processes = []
        for number in range(publishers):
            (place := Path(folder) / str(number)).mkdir()
            argv = ["-m", "benchmarks.hub_publishers", "--entries", str(entries)]
            argv += ["--publish", url, str(number), str(place)]
            processes.append(subprocess.Popen([sys.executable, *argv], env=own))
        failed = sum(process.wait() != 0 for process in processes)
        took = time.monotonic() - begun
        asked = len(hub.sent("POST", "/commit/"))
        with closing(open_hub(url, token=TOKEN, endpoint=hub.endpoint)) as remote:
            sound = sum(_is_sound(remote, name) for name in remote.names())
        return {
            "remote": url,
            "sound entries": sound,
            "failed publishers": failed,
            "s": took,
            "commits tried": asked,
            "complaints of the Hub": len(hub.complaints),
        }


def _is_sound(remote: Remote, name: str) -> bool:
    snapshot = remote.snapshot(name)
    if snapshot is None or set(snapshot.tags) != {"latest"}:
        return False
    digest = snapshot.tags["latest"]
    record = decode_artifact(snapshot.manifests[digest], name).files[0]
    with remote.blob(name, digest, record, 0) as body:
        return sha256_bytes(b"".join(body.chunks)) == digest and len(snapshot.measurements[digest]) == 1


if __name__ == "__main__":
    sys.exit(main())
