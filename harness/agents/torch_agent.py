"""Measure one PyTorch program in this process and print one JSON document. Pushed to a host beside tflite_agent.py.

It needs Python 3.8 or newer and torch; nothing of pocketzoo is imported. What does not depend on the runtime (ABI, CPU
time of others, memory) is done by tflite_agent.py, whose path is --agent.

    torch_agent.py --agent tflite_agent.py --describe
    torch_agent.py --agent tflite_agent.py --model FILE --format torchscript --device cuda --precision fp16 --batch 8

What it prints is what happened: the device a tensor of the output lies on, the GPU's name, the CUDA and torch versions,
every sample in nanoseconds. Asked for CUDA where there is none, it measures nothing.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib.util
import json
import os
import sys
import time
import warnings
from typing import Any, Callable, Dict, List, Tuple

PROTOCOL = 1
SETTINGS = ("device", "precision", "layout", "batch", "graph", "timer", "shape")
PRECISIONS = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "float32"}


def load_agent(path: str) -> Any:
    """tflite_agent.py as a module: what it knows of processes holds for this one."""
    spec = importlib.util.spec_from_file_location("pocketzoo_process_agent", path)
    if spec is None or spec.loader is None:
        raise OSError("cannot load %s" % path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def installed_digest() -> str:
    """SHA-256 of torch's list of installed files, which holds the digest of each: hashing gigabytes takes too long."""
    from importlib.metadata import distribution

    record = distribution("torch").read_text("RECORD")
    if not record:
        raise OSError("torch was installed without a list of its files, so the build cannot be named")
    return hashlib.sha256(record.encode()).hexdigest()


def describe(agent: Any) -> Dict[str, Any]:
    """What would measure here."""
    import torch

    abi, proof = agent.elf_identity()
    cuda = torch.cuda.is_available()
    return {
        "runtime": "torch",
        "runtime_version": torch.__version__,
        "library_sha256": installed_digest(),
        "abi": abi,
        "abi_proof": proof,
        "python": sys.version.split()[0],
        "cuda": torch.version.cuda if cuda else None,
        "gpu": torch.cuda.get_device_name(0) if cuda else None,
        "no_cuda": None if cuda else no_cuda(torch),
    }


def no_cuda(torch: Any) -> str:
    """Why there is no GPU to run on."""
    return "torch %s (built for CUDA %s) finds no device" % (torch.__version__, torch.version.cuda)


def load_program(torch: Any, path: str, kind: str) -> Any:
    """The program as something that can be called."""
    if kind == "torchscript":
        # torch.jit.load reads no pickled Python objects other than tensors and the program's own types.
        return torch.jit.load(path, map_location="cpu").eval()
    return torch.export.load(path).module()


def is_quantized(program: Any, kind: str) -> bool:
    """Whether the program computes in 8 bits somewhere."""
    text = str(program.inlined_graph) if kind == "torchscript" else str(getattr(program, "graph", ""))
    return "quantized" in text or "int8" in text


def example(torch: Any, options: argparse.Namespace, device: str) -> Any:
    """The seeded input on its device, in its precision and layout."""
    shape = [options.batch] + [int(size) for size in options.shape.split("x")]
    generator = torch.Generator().manual_seed(options.seed)
    value = torch.rand(shape, generator=generator, dtype=torch.float32) * 2 - 1
    value = value.to(device=device, dtype=getattr(torch, PRECISIONS[options.precision]))
    if options.layout == "channels_last":
        value = value.contiguous(memory_format=torch.channels_last)
    return value


def tensors_in(output: Any) -> List[Any]:
    """The tensors of an output, whatever holds them."""
    if hasattr(output, "device"):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    return [tensor for part in output for tensor in tensors_in(part)] if isinstance(output, (list, tuple)) else []


def captured(torch: Any, call: Callable[[], Any]) -> Callable[[], Any]:
    """The call as a CUDA graph: the kernels are launched at once, without Python between them."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # libraries choose their kernels in the first calls, which cannot be captured
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held = call()

    def replay() -> Any:
        graph.replay()
        return held

    return replay


def timed_by_events(torch: Any, call: Callable[[], Any], runs: int) -> List[int]:
    """Nanoseconds the GPU took from before the first kernel of a run to after its last, by CUDA's own clock."""
    samples = []
    for _ in range(runs):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        samples.append(round(start.elapsed_time(end) * 1e6))
    return samples


def timed_by_host(call: Callable[[], Any], wait: Callable[[], Any], runs: int) -> List[int]:
    """Nanoseconds on the host's clock, until the device is done."""
    clock = time.perf_counter_ns
    samples = [0] * runs
    for run in range(runs):
        start = clock()
        call()
        wait()
        samples[run] = clock() - start
    return samples


def pin(options: argparse.Namespace) -> Tuple[Any, Any]:
    """Pin before torch is imported: its thread pools look at the allowed CPUs when they start."""
    allowed = None
    if hasattr(os, "sched_setaffinity"):
        if options.cpus:
            os.sched_setaffinity(0, {int(cpu) for cpu in options.cpus.split(",")})
        allowed = sorted(os.sched_getaffinity(0))
    return allowed, set(allowed) if allowed else set(range(os.cpu_count() or 1))


def prepared(torch: Any, options: argparse.Namespace) -> Any:
    """The program on its device, in its precision and layout."""
    program = load_program(torch, options.model, options.format)
    quantized = is_quantized(program, options.format)
    if (options.precision == "int8") != quantized:
        says = "is" if quantized else "is not"
        raise ValueError("the program %s quantized; precision=int8 is for those that are, and for no other" % says)
    if options.precision in ("fp16", "bf16"):
        program = program.to(getattr(torch, PRECISIONS[options.precision]))
    program = program.to(options.device)
    if options.layout == "channels_last":
        program = program.to(memory_format=torch.channels_last)
    return program


def check_device(output: Any, device: str) -> List[Any]:
    """The tensors of an output, all of them on the device that was asked for."""
    tensors = tensors_in(output)
    if not tensors or any(tensor.device.type != device for tensor in tensors):
        where = ", ".join(sorted({str(tensor.device) for tensor in tensors})) or "nothing"
        raise RuntimeError("asked for %s, and the output lies on %s" % (device, where))
    return tensors


def proof_of(agent: Any, torch: Any, cuda: bool) -> Tuple[Any, str]:
    """The ABI that ran, and what shows it."""
    if not cuda:
        abi, proof = agent.elf_identity()
        return abi, proof
    major, minor = torch.cuda.get_device_capability(0)
    name = torch.cuda.get_device_name(0)
    says = "the output lies on %s, compute capability %s.%s, CUDA %s" % (name, major, minor, torch.version.cuda)
    return "cuda", says


def setting_up(torch: Any, options: argparse.Namespace) -> Callable[[], Any]:
    """Set what decides how torch computes; gives what waits until the device is done."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("CUDA was asked for, and " + no_cuda(torch))
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True  # a fixed shape runs many times: let cuDNN look for the fastest kernel
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    synchronize: Callable[[], Any] = torch.cuda.synchronize
    return synchronize if options.device == "cuda" else no_wait


def no_wait() -> None:
    """On a CPU a call ends when it is done."""


def measure(agent: Any, options: argparse.Namespace) -> Dict[str, Any]:
    """Init, first inference, warm-up and the measured runs, kept apart."""
    allowed, cpus = pin(options)
    since_start = agent.Usage(cpus)
    import torch

    cuda = options.device == "cuda"
    wait = setting_up(torch, options)
    clock = time.perf_counter_ns
    threads_before = agent.task_count()

    start = clock()
    program = prepared(torch, options)
    wait()
    init_ns = clock() - start
    value = example(torch, options, options.device)

    def call() -> Any:
        return program(value)

    with torch.inference_mode():
        wait()
        start = clock()
        output = call()
        wait()
        first_ns = clock() - start
        pool_threads = min(options.threads, agent.task_count() - threads_before + 1)
        tensors = check_device(output, options.device)
        run = captured(torch, call) if options.graph == "on" else call
        gc.collect()
        gc.disable()
        switches = agent.involuntary_switches()
        running = agent.Usage(cpus)
        for _ in range(options.warmup):
            run()
        wait()
        if options.timer == "events":
            samples = timed_by_events(torch, run, options.runs)
        else:
            samples = timed_by_host(run, wait, options.runs)
        wall_ns, own_ns, foreign = running.until_now()
        if foreign is None:
            time.sleep(max(0.0, 0.21 - (clock() - since_start.wall) / 1e9))
            foreign = since_start.until_now()[2]
        gc.enable()
        output_sha256 = hashlib.sha256(tensors[0].float().cpu().contiguous().numpy().tobytes()).hexdigest()

    abi, proof = proof_of(agent, torch, cuda)
    return {
        "runtime": "torch",
        "runtime_version": torch.__version__,
        "library_sha256": installed_digest(),
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
        "involuntary_switches": agent.involuntary_switches() - switches,
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else agent.peak_memory(),
        "output_sha256": output_sha256,
        "gpu": torch.cuda.get_device_name(0) if cuda else None,
        "ran": {name: str(getattr(options, name)) for name in SETTINGS},
    }


def main() -> None:
    """Print the JSON document; exit 0 when it holds a result, 1 when it holds an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", required=True)
    parser.add_argument("--describe", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--format", choices=["torchscript", "pt2"], default="torchscript")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=sorted(PRECISIONS), default="fp32")
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--shape", default="3x224x224")
    parser.add_argument("--graph", choices=["on", "off"], default="off")
    parser.add_argument("--timer", choices=["events", "host"], default="host")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--cpus", default="")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    document: Dict[str, Any] = {"pocketzoo_agent": PROTOCOL}
    warnings.simplefilter("ignore")
    try:
        agent = load_agent(options.agent)
        document.update(describe(agent) if options.describe else measure(agent, options))
    except ImportError as error:
        document["error"] = "no torch on the device: %s" % error
    except Exception as error:  # torch raises classes of its own; whatever it says is the answer
        document["error"] = "%s: %s" % (type(error).__name__, str(error)[:1500])
    sys.stdout.write("\n" + json.dumps(document) + "\n")
    sys.stdout.flush()
    sys.exit(1 if "error" in document else 0)


if __name__ == "__main__":
    main()
