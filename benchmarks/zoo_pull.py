"""A pull of one entry beside what else brings its file here, turn by turn: whole processes, hashing included.

``python -m benchmarks.zoo_pull [--rounds N] [--mb 100]``

A folder against ``cp`` and ``sha256sum``; a web server (nginx, and Python's) and a Hub on loopback against
``hf download`` from that Hub. ``zoo pull`` ends with every byte hashed and flushed to the disk: ``cp`` does not flush,
``hf download`` does neither. Each turn begins with nothing on this side.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.report import show
from pocketzoo.files import sha256_file
from tests.lab.hub.server import HubServer
from tests.zoo import hostile
from zoo.artifact import Artifact, FileRecord
from zoo.push import push
from zoo.remotes import RemoteConfig, open_remote
from zoo.store import Store

SCRIPTS = Path(sys.executable).parent
NAME = "large-quant"
TOKEN = "hf_benchmark"
OWNER = "bench"


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--mb", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        here = Path(folder)
        os.environ["POCKETZOO_HOME"] = str(here / "publisher")
        entry_file, digest = _publish_to_folder(here, options.mb)
        hub = stack.enter_context(HubServer(port=0, tokens=(TOKEN,), cdn=False))
        # What the client of the Hub needs where a server knows nothing of xet; both sides run with the same.
        own = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(here / "hf")}
        os.environ.update(own | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"})
        _push_to(f"hf://{OWNER}")
        folders: dict[str, str] = {"folder": (here / "share").as_uri(), "Hub": f"hf://{OWNER}"}
        if hostile.NGINX is not None:
            folders["nginx"] = stack.enter_context(hostile.nginx(here / "share", here / "nginx"))
        folders["http.server"] = stack.enter_context(_python_server(here / "share"))
        ways: dict[str, Callable[[], None]] = {
            "cp + sha256sum": lambda: _cp(here, entry_file),
            "hf download": lambda: _hf(here, digest),
        }
        ways |= {f"zoo pull, {kind}": _puller(here, kind, url, digest) for kind, url in folders.items()}
        times = _turns(ways, options.rounds)
    rows = [_row(name, times, options.mb) for name in ways]
    show(
        "zoo pull", rows,
        f"{options.rounds} rounds, every way once a round, medians of whole processes; {options.mb} MB of 10^6 bytes.",
    )  # fmt: skip
    return 0


def _row(name: str, times: dict[str, list[float]], size_mb: int) -> dict[str, object]:
    seconds = statistics.median(times[name])
    row: dict[str, object] = {"way": name, "s": seconds, "MB/s": size_mb / seconds}
    rival = "cp + sha256sum" if name.endswith("folder") else "hf download"
    row["rival"] = rival if name.startswith("zoo") else ""
    # Of each round, because the machine's pace changes between rounds.
    pairs = [theirs / ours for theirs, ours in zip(times[rival], times[name], strict=True)]
    row["times its speed"] = statistics.median(pairs) if name.startswith("zoo") else None
    return row


def _turns(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for counted in range(-1, rounds):  # the first round fills caches and does not count
        for name, way in ways.items():
            os.sync()  # what the one before has left to write is not this one's
            start = time.perf_counter()
            way()
            if counted >= 0:
                times[name].append(time.perf_counter() - start)
    return times


def _publish_to_folder(here: Path, size_mb: int) -> tuple[Path, str]:
    source = here / "weights"
    with source.open("wb") as file:
        for _ in range(size_mb):
            file.write(os.urandom(10**6))
    record = FileRecord(name=f"{NAME}.tflite", sha256=sha256_file(source), size=source.stat().st_size)
    store = Store()
    store.add(Artifact(name=NAME, format="tflite", files=(record,)), {record.name: source})
    source.unlink()
    (here / "share").mkdir()
    _push_to((here / "share").as_uri())
    return here / "share" / "blobs" / "sha256" / record.sha256[:2] / record.sha256, record.sha256


def _push_to(url: str) -> None:
    store = Store()
    with contextlib.closing(open_remote(RemoteConfig(name="there", url=url))) as remote:
        push(store, remote, store.get(NAME), tags=("latest",))


def _cp(here: Path, source: Path) -> None:
    target = here / "copy"
    target.unlink(missing_ok=True)
    subprocess.run(["cp", str(source), str(target)], check=True)
    subprocess.run(["sha256sum", str(target)], check=True, stdout=subprocess.DEVNULL)


def _hf(here: Path, digest: str) -> None:
    target = here / "hf-copy"
    for folder in (target, here / "hf"):
        shutil.rmtree(folder, ignore_errors=True)
    argv = [str(SCRIPTS / "hf"), "download", f"{OWNER}/{NAME}", f"{NAME}.tflite", "--local-dir", str(target)]
    subprocess.run(argv, check=True, capture_output=True)
    if (target / f"{NAME}.tflite").stat().st_size == 0:
        sys.exit(f"error: hf download brought nothing of {digest}")


def _puller(here: Path, kind: str, url: str, digest: str) -> Callable[[], None]:
    home = here / f"home-{kind}"

    def pull() -> None:
        shutil.rmtree(home, ignore_errors=True)
        env = {**os.environ, "POCKETZOO_HOME": str(home), "POCKETZOO_REMOTE": url}
        subprocess.run([str(SCRIPTS / "zoo"), "pull", NAME], check=True, env=env, capture_output=True)
        if not (home / "zoo" / "blobs" / "sha256" / digest[:2] / digest).is_file():
            sys.exit("error: zoo pull brought nothing")

    return pull


@contextlib.contextmanager
def _python_server(folder: Path) -> Iterator[str]:
    """``python -m http.server`` as a process of its own, as people share a folder."""
    argv = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().partition("port ")[2].split()[0]
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
