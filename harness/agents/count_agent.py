"""Count the instructions of each inference of one .tflite model and print one JSON document. Pushed to a lab device.

    count_agent.py --agent tflite_agent.py --counter /run/pocketzoo/count --model FILE --warmup 1 --runs 2 [--seed 0]

It starts itself again under the counter (devices/lab/counter.py) and places a mark before and after each inference;
the counter writes its total at each mark. What loads and describes the runtime is the other agent's, which lies beside
it on the device: both measure the same thing, one in nanoseconds, one in instructions.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.util
import json
import os
import struct
import sys
from typing import Any

PROTOCOL = 1
MARK = 0x706F636B  # as devices/lab/insn_count.c has it
STARTED = "POCKETZOO_COUNTED"


class Marks:
    """Marks in the stream of instructions, and what the counter says at each."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        prctl = ctypes.CDLL(None).prctl
        prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
        # Made once: what is done between two marks must be the same every time.
        self._prctl, self._what = prctl, (ctypes.c_int(MARK), *(ctypes.c_ulong(n) for n in (self.writing, 0, 0, 0)))

    def between(self, work: Any) -> int:
        """Instructions from one mark to the next with a call of ``work`` between them."""
        prctl, what = self._prctl, self._what
        prctl(*what)
        work()
        prctl(*what)
        try:
            first, second = struct.unpack("=QQ", os.read(self.reading, 16))
        except (BlockingIOError, struct.error):
            raise RuntimeError("nothing counts instructions here: the program does not run under the counter") from None
        return int(second - first)


def nothing() -> None:
    """What a call alone costs is taken off."""


def load(path: str) -> Any:
    """The other agent as a module."""
    spec = importlib.util.spec_from_file_location("tflite_agent", path)
    if spec is None or spec.loader is None:
        raise OSError("cannot load %s" % path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def count(options: argparse.Namespace, agent: Any) -> dict[str, Any]:
    """Instructions of each measured inference, without loading, first inference and warm-up."""
    allowed = None
    if hasattr(os, "sched_setaffinity"):
        if options.cpus:
            os.sched_setaffinity(0, {int(cpu) for cpu in options.cpus.split(",")})
        allowed = sorted(os.sched_getaffinity(0))
    import numpy

    interpreter_class, runtime, version = agent.load_runtime()
    marks = Marks()
    gc.collect()
    gc.disable()
    empty = min(marks.between(nothing) for _ in range(5))

    threads_before = agent.task_count()
    interpreter = interpreter_class(model_path=options.model, num_threads=options.threads)
    interpreter.allocate_tensors()
    input_sha256 = agent.feed(numpy, interpreter, options.seed)
    invoke = interpreter.invoke
    first = marks.between(invoke) - empty
    pool_threads = agent.task_count() - threads_before + 1
    output_sha256, outputs = agent.computed(numpy, interpreter, options.seed)
    for _ in range(options.warmup):
        invoke()
    instructions = [marks.between(invoke) - empty for _ in range(options.runs)]

    abi, proof = agent.elf_identity()
    return {
        "runtime": runtime,
        "runtime_version": version,
        "library_sha256": agent.library_digest()[0],
        "abi": abi,
        "abi_proof": proof,
        "instructions": instructions,
        "first_instructions": first,
        "empty_instructions": empty,
        "pool_threads": pool_threads,
        "cpus_allowed": allowed,
        "peak_memory_bytes": agent.peak_memory(),
        "input_sha256": input_sha256,
        "output_sha256": output_sha256,
        "outputs": outputs,
    }


def start_again(counter: str) -> None:
    """Become this very command under the counter. What would make two processes differ is switched off."""
    settings = {STARTED: "1", "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    os.execve(counter, [counter, sys.executable, *sys.argv], {**os.environ, **settings})  # noqa: S606  no shell needed


def main() -> None:
    """Print the JSON document; exit 0 when it holds a result, 1 when it holds an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", required=True)
    parser.add_argument("--counter", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--cpus", default="")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    document: dict[str, Any] = {"pocketzoo_agent": PROTOCOL}
    try:
        if os.environ.get(STARTED) != "1":
            start_again(options.counter)
        document.update(count(options, load(options.agent)))
    except ImportError as error:
        document["error"] = "no TFLite runtime or no numpy on the device: %s" % error
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        document["error"] = "%s: %s" % (type(error).__name__, error)
    # On a line of its own: runtimes print notes to stdout on some devices.
    sys.stdout.write("\n" + json.dumps(document) + "\n")
    sys.stdout.flush()
    sys.exit(1 if "error" in document else 0)


if __name__ == "__main__":
    main()
