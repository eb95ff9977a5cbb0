"""Weights from files that cannot run code: torch's weights-only loader or safetensors; we write safetensors."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.quiet import quiet
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    import torch

SHOWN = 4  # names listed of each kind of difference


def load_into(model: torch.nn.Module, path: Path, architecture: str) -> None:
    """Load a checkpoint into a network; names, shapes and finiteness are checked before anything is changed.

    Args:
        model: the network; changed in place.
        path: a ``.safetensors`` file, or a state dict written by ``torch.save``.
        architecture: what to call the network in errors.

    Raises:
        BadInput: no such file, no checkpoint, a checkpoint of another network (with the keys that differ), or one
            with NaN or infinite weights.
    """
    state = read_state(path)
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    # Checkpoints older than batch norm's counter lack it, and evaluation does not read it.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected or reshaped:
        raise BadInput(
            f"the checkpoint is not one of {architecture}",
            where=str(path),
            detail=(*_few("missing", missing), *_few("unexpected", unexpected), *_few("other shape", reshaped)),
            hint="check model.architecture and model.options of the recipe against the network the weights are of",
        )
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise BadInput(
            "the checkpoint holds NaN or infinite weights: the training it comes from diverged",
            where=str(path),
            detail=_few("not finite", broken),
            hint="use an earlier checkpoint of that training",
        )
    model.load_state_dict(dict(state), strict=False)


def read_state(path: Path) -> Mapping[str, torch.Tensor]:
    """A file's state dict. A dict that holds it under ``state_dict`` or ``model`` is unwrapped.

    Raises:
        BadInput: no such file, or not a checkpoint that can be read without running code.
    """
    import torch

    if not path.is_file():
        raise BadInput("no weights file", where=str(path), hint="--set weights=FILE")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: object = load_file(path)
        else:
            with quiet():  # it warns of pickle protocols before it refuses them
                state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            "not a checkpoint of weights alone; files that would run code are not loaded",
            where=str(path),
            hint="save it again with torch.save(model.state_dict(), FILE), or as safetensors",
        ) from error
    except (RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise BadInput(
            "the checkpoint cannot be read; it may be truncated",
            where=str(path),
            detail=(str(error).splitlines()[0][:200] if str(error) else type(error).__name__,),
        ) from error
    except Exception as error:  # safetensors has an exception class of its own, made in Rust
        if type(error).__module__.startswith(("safetensors", "builtins")) and "Safetensor" in type(error).__name__:
            raise BadInput("not a safetensors file", where=str(path), detail=(str(error)[:200],)) from error
        raise
    if isinstance(state, Mapping):
        for key in ("state_dict", "model"):
            if isinstance(state.get(key), Mapping):
                state = state[key]
                break
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise BadInput(
            "not a state dict (parameter name -> tensor)",
            where=str(path),
            hint="save it with torch.save(model.state_dict(), FILE), or as safetensors",
        )
    return {str(key): value for key, value in state.items()}


def write_state(model: torch.nn.Module, path: Path) -> None:
    """Write a network's state dict as safetensors: the same weights give the same bytes."""
    from safetensors.torch import save

    # Through Python's own write, so that a full disk is an OSError like everywhere else.
    path.write_bytes(save({key: value.detach().contiguous().cpu() for key, value in model.state_dict().items()}))


def _few(what: str, names: list[str]) -> tuple[str, ...]:
    if not names:
        return ()
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}",)
