"""Does the runtime take this file? Asked in a process of its own, because a hostile model can take the process down.

``python -m zoo.loadcheck FILE`` loads the model, allocates its tensors and prints one JSON document.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pocketzoo.errors import BadInput

DEADLINE_S = 120
MOST_MEMORY = 8 << 30  # bytes of address space; a model for a phone takes a hundredth of it


def check_loads(path: Path) -> str:
    """Load a .tflite file in a separate process.

    Returns:
        The runtime's name and version.

    Raises:
        BadInput: the runtime refuses it (custom operator, unsupported type, damaged), crashes, or never ends.
    """
    argv = [sys.executable, "-m", "zoo.loadcheck", str(path)]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"the runtime did not load the model within {DEADLINE_S} s", where=str(path)) from error
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if done.returncode == 0 and lines else None
    except json.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        reason = f"it ended with signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise BadInput(
            f"the runtime crashed while loading the model ({reason})",
            where=str(path),
            detail=(f"it may want more than {MOST_MEMORY >> 30} GiB of memory",) if done.returncode < 0 else (),
        )
    if "error" in answer:
        raise BadInput("the runtime refuses the model", where=str(path), detail=(str(answer["error"])[:500],))
    return str(answer["runtime"])


def main() -> None:
    """Print ``{"runtime": ...}`` or ``{"error": ...}`` for the file named on the command line."""
    import resource
    from importlib.metadata import version

    # A file of a few bytes can declare tensors of terabytes: this process fails then, and not the machine.
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(MOST_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        from ai_edge_litert.interpreter import Interpreter

        runtime = f"ai-edge-litert {version('ai-edge-litert')}"
    except ImportError:
        from tflite_runtime.interpreter import Interpreter

        runtime = f"tflite-runtime {version('tflite-runtime')}"
    try:
        Interpreter(model_path=sys.argv[1], num_threads=1).allocate_tensors()
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps({"runtime": runtime}))


if __name__ == "__main__":
    main()
