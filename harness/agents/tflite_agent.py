"""Measure one .tflite model in this process and print one JSON document. Pushed to a device as a single file.

It stands alone: Python 3.8 or newer, numpy, and ai-edge-litert or tflite-runtime; nothing of pocketzoo is imported.

    tflite_agent.py --describe
    tflite_agent.py --model FILE --threads 2 --warmup 100 --runs 200 [--cpus 0,1] [--seed 0]

What it prints is what happened, not what was asked for: the ELF class of the running interpreter, the threads the
runtime started, the CPUs the kernel allows, every sample in nanoseconds, what came out. Judging is left to the harness.
"""

from __future__ import annotations

import argparse
import base64
import gc
import hashlib
import json
import os
import sys
import time
from typing import Any

PROTOCOL = 1
MOST_KEPT = 16384  # bytes of one output that are printed; of a larger one, rows drawn with a seed
MOST_OUTPUTS = 8
CELLS = 2  # patches of the seeded input along an axis


def elf_identity(path: str = "/proc/self/exe") -> tuple[str | None, str]:
    """ABI, as the ELF header of the running interpreter proves it, and the bytes it rests on."""
    with open(path, "rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF":
        return None, "not an ELF file"
    bits = {1: 32, 2: 64}.get(head[4], 0)
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    abi = {(40, 32): "armv7", (183, 64): "armv8", (62, 64): "x86_64", (3, 32): "x86", (243, 64): "riscv64"}.get(
        (machine, bits)
    )
    return abi, "ELF%s e_machine %d" % (bits, machine)


def load_runtime() -> tuple[Any, str, str]:
    """The interpreter class, its name and version; the newer runtime where both are there."""
    from importlib.metadata import version

    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter, "ai-edge-litert", version("ai-edge-litert")
    except ImportError:
        from tflite_runtime.interpreter import Interpreter

        return Interpreter, "tflite-runtime", version("tflite-runtime")


def library_digest() -> tuple[str, list[str]]:
    """SHA-256 over the runtime's shared libraries that are mapped into this process, by name."""
    paths = set()
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.split(None, 5)[-1].strip()
            if ".so" in path and ("ai_edge_litert" in path or "tflite_runtime" in path):
                paths.add(path)
    digest = hashlib.sha256()
    for path in sorted(paths, key=os.path.basename):
        digest.update(os.path.basename(path).encode() + b"\0")
        with open(path, "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest(), sorted(os.path.basename(path) for path in paths)


def describe() -> dict[str, Any]:
    """What would measure here: runtime, version, library digest, ABI."""
    _, name, version = load_runtime()
    digest, libraries = library_digest()
    abi, proof = elf_identity()
    return {
        "runtime": name,
        "runtime_version": version,
        "library_sha256": digest,
        "libraries": libraries,
        "abi": abi,
        "abi_proof": proof,
        "python": sys.version.split()[0],
    }


def task_count() -> int:
    return len(os.listdir("/proc/self/task"))


def machine_busy_ticks(cpus: set[int]) -> int | None:
    """Ticks the given CPUs spent on anything but idling, stolen time included; None where it cannot be read."""
    total = 0
    seen = 0
    try:
        with open("/proc/stat") as file:
            for line in file:
                fields = line.split()
                if fields and fields[0].startswith("cpu") and fields[0][3:].isdigit() and int(fields[0][3:]) in cpus:
                    ticks = [int(value) for value in fields[1:9]]
                    total += sum(ticks) - ticks[3] - ticks[4]  # less idle and iowait
                    seen += 1
    except (OSError, ValueError, IndexError):
        return None
    return total if seen == len(cpus) else None


class Usage:
    """Who used the CPUs since it was made."""

    def __init__(self, cpus: set[int]) -> None:
        self.cpus = cpus
        self.busy = machine_busy_ticks(cpus)
        self.own = time.process_time_ns()
        self.wall = time.perf_counter_ns()

    def until_now(self) -> tuple[int, int, float | None]:
        """Wall time and our CPU time in ns, and the share of the CPUs that others used; None if it cannot be told."""
        wall = time.perf_counter_ns() - self.wall
        own = time.process_time_ns() - self.own
        busy = machine_busy_ticks(self.cpus)
        tick = 1e9 / os.sysconf("SC_CLK_TCK")
        # The kernel counts in ticks: over fewer than 20 of them the share would be mostly rounding.
        if self.busy is None or busy is None or wall < 20 * tick:
            return wall, own, None
        return wall, own, max(0.0, (busy - self.busy) * tick - own) / (wall * len(self.cpus))


def peak_memory() -> int | None:
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def involuntary_switches() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def coarse(shape: list[int]) -> list[int]:
    """The grid whose cells are blown up to an input of that shape: CELLS along every long axis but the last."""
    return [size if size < 2 * CELLS or axis == len(shape) - 1 else CELLS for axis, size in enumerate(shape)]


def seeded_input(numpy: Any, detail: dict[str, Any], seed: int) -> Any:
    """Values of the input's whole range, in patches: the same on every machine for the same seed.

    Noise in each pixel would not do: a network averages it away, and every seed gives nearly the same output.
    """
    random = numpy.random.RandomState(seed)
    shape = [int(size) if size > 0 else 1 for size in detail["shape"]]
    grid = coarse(shape)
    dtype = numpy.dtype(detail["dtype"])
    if dtype.kind == "f":
        # Two rounded steps: uniform(-1, 1) may be one fused step on ARM and then differs in the last bit.
        cells = random.random_sample(grid) * 2.0 - 1.0
    elif dtype.kind in "iu":
        limits = numpy.iinfo(dtype)
        low, high = (limits.min, limits.max) if dtype.itemsize == 1 else (0, 2)
        cells = random.randint(low, high + 1, grid, dtype=numpy.int64)
    elif dtype.kind == "b":
        cells = random.randint(0, 2, grid, dtype=numpy.int64)
    else:
        raise ValueError("no seeded input for dtype %s" % dtype)
    for axis, size in enumerate(shape):
        count = grid[axis]
        if size != count:
            cells = cells.take(numpy.arange(size) * count // size, axis=axis)
    return cells.astype(dtype)


def kept_output(numpy: Any, detail: dict[str, Any], tensor: Any, seed: int) -> dict[str, Any]:
    """An output as it is printed: whole where it is small, else rows (along the last axis) drawn with the seed."""
    scale, zero_point = detail.get("quantization", (0.0, 0))
    kept = {
        "name": str(detail["name"]),
        "dtype": str(tensor.dtype),
        "shape": [int(size) for size in tensor.shape],
        "scale": float(scale),
        "zero_point": int(zero_point),
        "sha256": hashlib.sha256(tensor.tobytes()).hexdigest(),
        "width": 1,
        "sampled": False,
        "values": None,
    }
    if tensor.dtype.kind not in "fiub" or not tensor.size:
        return kept
    width = int(tensor.shape[-1]) if tensor.ndim else 1
    width = width if width * tensor.itemsize <= MOST_KEPT else 1
    rows = tensor.reshape(-1, width)
    most = MOST_KEPT // (width * tensor.itemsize)
    if len(rows) > most:
        drawn = numpy.random.RandomState(seed).randint(0, len(rows), most, dtype=numpy.int64)
        rows = rows[numpy.unique(drawn)]
        kept["sampled"] = True
    kept["width"] = width
    little = rows.astype(rows.dtype.newbyteorder("<"))
    kept["values"] = base64.b64encode(little.tobytes()).decode("ascii")
    return kept


def feed(numpy: Any, interpreter: Any, seed: int) -> str:
    """Set every input to its seeded values; the digest of all of them."""
    fed = hashlib.sha256()
    for position, detail in enumerate(interpreter.get_input_details()):
        value = seeded_input(numpy, detail, seed + position)
        fed.update(value.tobytes())
        interpreter.set_tensor(detail["index"], value)
    return fed.hexdigest()


def computed(numpy: Any, interpreter: Any, seed: int) -> tuple[str, list[dict[str, Any]]]:
    """The digest of all outputs, and what is kept of the first of them."""
    whole = hashlib.sha256()
    outputs: list[dict[str, Any]] = []
    for detail in interpreter.get_output_details():
        tensor = interpreter.get_tensor(detail["index"])
        whole.update(tensor.tobytes())
        if len(outputs) < MOST_OUTPUTS:
            outputs.append(kept_output(numpy, detail, tensor, seed))
    return whole.hexdigest(), outputs


def clocks() -> dict[str, float]:
    """MHz of the CPUs this process's threads ran on last. Read under load: an idle CPU's clock says nothing."""
    found = {}
    try:
        for task in os.listdir("/proc/self/task"):
            with open("/proc/self/task/%s/stat" % task) as file:
                cpu = file.read().rpartition(")")[2].split()[36]
            with open("/sys/devices/system/cpu/cpu%s/cpufreq/scaling_cur_freq" % cpu) as file:
                found[cpu] = int(file.read()) / 1000.0
    except (OSError, ValueError, IndexError):
        return {}
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Init, first inference, warm-up and the measured runs, kept apart."""
    allowed = None
    if hasattr(os, "sched_setaffinity"):
        if options.cpus:
            os.sched_setaffinity(0, {int(cpu) for cpu in options.cpus.split(",")})
        allowed = sorted(os.sched_getaffinity(0))
    cpus = set(allowed) if allowed else set(range(os.cpu_count() or 1))
    since_start = Usage(cpus)
    import numpy

    interpreter_class, runtime, version = load_runtime()
    threads_before = task_count()

    clock = time.perf_counter_ns
    start = clock()
    interpreter = interpreter_class(model_path=options.model, num_threads=options.threads)
    interpreter.allocate_tensors()
    init_ns = clock() - start
    input_sha256 = feed(numpy, interpreter, options.seed)

    start = clock()
    interpreter.invoke()
    first_ns = clock() - start
    pool_threads = task_count() - threads_before + 1
    output_sha256, outputs = computed(numpy, interpreter, options.seed)

    # The collector would stop the clock's owner at random; a run allocates nothing that needs it.
    gc.collect()
    gc.disable()
    samples = [0] * options.runs
    invoke = interpreter.invoke
    switches = involuntary_switches()
    running = Usage(cpus)
    for _ in range(options.warmup):
        invoke()
    clocks_before = clocks()
    for run in range(options.runs):
        start = clock()
        invoke()
        samples[run] = clock() - start
    clocks_after = clocks()
    wall_ns, own_ns, foreign = running.until_now()
    if foreign is None:
        # Too short a run to tell: look at the whole process, loading included, and a moment longer where that is short.
        time.sleep(max(0.0, 0.21 - (clock() - since_start.wall) / 1e9))
        foreign = since_start.until_now()[2]
    gc.enable()

    abi, proof = elf_identity()
    return {
        "runtime": runtime,
        "runtime_version": version,
        "library_sha256": library_digest()[0],
        "abi": abi,
        "abi_proof": proof,
        "samples_ns": samples,
        "init_ns": init_ns,
        "first_ns": first_ns,
        "pool_threads": pool_threads,
        "cpus_allowed": allowed,
        "own_cpu_ns": own_ns,
        "wall_ns": wall_ns,
        "foreign_cpu_share": foreign,
        "involuntary_switches": involuntary_switches() - switches,
        "peak_memory_bytes": peak_memory(),
        "clocks_mhz": [clocks_before, clocks_after],
        "input_sha256": input_sha256,
        "output_sha256": output_sha256,
        "outputs": outputs,
    }


def main() -> None:
    """Print the JSON document; exit 0 when it holds a result, 1 when it holds an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--describe", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--cpus", default="")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    document: dict[str, Any] = {"pocketzoo_agent": PROTOCOL}
    try:
        document.update(describe() if options.describe else measure(options))
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
