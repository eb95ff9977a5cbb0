"""Every record is worked out by msgspec where it is defined, before two threads can be the first to decode it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOOK = """
import importlib, pkgutil, sys
import msgspec

def worked_out_now(record):
    found = []
    def see(frame, event, argument):
        if event == "call":
            found.append(frame.f_code.co_name)
    sys.setprofile(see)
    try:
        msgspec.json.Decoder(record)
    except TypeError:
        return False  # nobody can decode it: it is only written
    finally:
        sys.setprofile(None)
    return "get_class_annotations" in found

class Fresh(msgspec.Struct):
    of: "int | None" = None

assert worked_out_now(Fresh) and not worked_out_now(Fresh)
for name in ("pocketzoo", "devices", "zoo", "compressors", "harness", "reports"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        # Alembic runs its files itself; an agent is a script for a device.
        if ".migrations" not in module.name and ".agents" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
seen, left = 0, [msgspec.Struct]
while left:
    for record in left.pop().__subclasses__():
        left.append(record)
        if record.__module__.partition(".")[0] in ("pocketzoo", "devices", "zoo", "compressors", "harness", "reports"):
            seen += 1
            if worked_out_now(record):
                print(f"{record.__module__}.{record.__qualname__} is not in a call of decodable()")
assert seen > 50, seen
"""

TOGETHER = """
import sys, threading
import msgspec
from tests.harness.results.rounds import ARTIFACT
from tests.records import measurement_for

sys.setswitchinterval(1e-6)
document = msgspec.json.encode(measurement_for(ARTIFACT))
at_once = threading.Barrier(16)
from zoo.measurement import Measurement

def decode():
    at_once.wait()
    assert msgspec.json.decode(document, type=Measurement).job_key

threads = [threading.Thread(target=decode) for _ in range(16)]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip


def test_no_record_is_left_to_the_threads_that_decode_it() -> None:
    done = run(LOOK)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_threads_that_decode_a_record_first_do_not_end_the_process() -> None:
    for _ in range(3):
        done = run(TOGETHER)
        assert done.returncode == 0, done.stderr or f"exit code {done.returncode}"
