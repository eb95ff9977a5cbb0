"""What stages depend on besides their settings and inputs: the code that makes them, and versions of packages."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
ARCHITECTURE_CODE = (HERE / "architectures", HERE / "checkpoint.py", HERE / "counting.py", HERE / "observing.py")
DATA_CODE = (HERE / "data",)
TASK_CODE = (HERE / "tasks", HERE / "dense")
QUANTIZE_CODE = (HERE / "steps" / "quantize", HERE / "export.py")
TORCH = ("torch", "numpy")
CONVERTER = ("torch", "litert-torch", "litert-converter", "ai-edge-litert")
QUANTIZER = ("ai-edge-quantizer", "ai-edge-litert", "numpy", "pillow")
RUNTIME = ("ai-edge-litert", "numpy", "pillow")


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Package -> installed version."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
