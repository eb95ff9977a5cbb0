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
PARALLEL = "module."


def load_into(
    model: torch.nn.Module, path: Path, architecture: str, *, drop_classifier: bool = False
) -> tuple[str, ...]:
    """Load a checkpoint into a network; names, shapes and finiteness are checked before anything is changed.

    Args:
        model: the network; changed in place.
        path: a ``.safetensors`` file, or a state dict written by ``torch.save``.
        architecture: what to call the network in errors.
        drop_classifier: where the last layer of the checkpoint has another number of classes, keep the network's own
            (untrained) one. Everything else must fit.

    Returns:
        The names of the tensors that were not taken; empty unless the classifier was dropped.

    Raises:
        BadInput: no such file, no checkpoint, a checkpoint of another network (with the keys that differ), or one
            with NaN or infinite weights.
    """
    wanted = model.state_dict()
    state = _renamed(read_state(path), wanted)
    # Checkpoints older than batch norm's counter lack it, and evaluation does not read it.
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in wanted]
    reshaped = [key for key, value in wanted.items() if key in state and state[key].shape != value.shape]
    classifier = _classifier(model)
    only_classes = bool(reshaped) and not missing and not unexpected and set(reshaped) <= set(classifier)
    dropped: tuple[str, ...] = ()
    if drop_classifier and only_classes:
        dropped = tuple(key for key in classifier if key in state)
        for key in dropped:
            del state[key]
    elif missing or unexpected or reshaped:
        shapes = [f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}" for key in reshaped]
        hint = "check model.architecture and model.options of the recipe against the network the weights are of"
        if only_classes:
            found, here = (int(which[reshaped[0]].shape[0]) for which in (state, wanted))
            hint = (
                f"it has {found} classes, the recipe {here}: --set model.options.classes={found}; to train on from it "
                f"for {here}: --set start.checkpoint=FILE --set start.drop_classifier=true"
            )
        raise BadInput(
            f"the checkpoint is not one of {architecture}",
            where=str(path),
            detail=(*_few("missing", missing), *_few("unexpected", unexpected), *_few("other shape", shapes)),
            hint=hint,
        )
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise BadInput(
            "the checkpoint holds NaN or infinite weights: the training it comes from diverged",
            where=str(path),
            detail=_few("not finite", broken),
            hint="use an earlier checkpoint of that training",
        )
    model.load_state_dict(state, strict=False)
    return dropped


def _renamed(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state under the network's names, where a known other way of naming explains every one of them."""
    from compressors.architectures.mobilenetv2 import from_flat_names

    renamed = {from_flat_names(name): value for name, value in state.items()}
    explained = set(renamed) <= set(wanted) and len(renamed) == len(state)
    return renamed if explained and not set(state) <= set(wanted) else dict(state)


def _classifier(model: torch.nn.Module) -> list[str]:
    """The names of the last layer's tensors: the last linear layer or convolution."""
    from torch import nn

    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    if not layers:
        return []
    name, last = layers[-1]
    return [f"{name}.{key}" if name else key for key in last.state_dict()]


def read_state(path: Path) -> Mapping[str, torch.Tensor]:
    """A file's state dict, unwrapped where it lies under ``state_dict`` or ``model``, or was saved from several GPUs.

    Raises:
        BadInput: no such file, or not a checkpoint that can be read without running code.
    """
    import torch

    if not path.is_file():
        raise BadInput("no weights file", where=str(path), hint="--set weights=FILE")
    try:
        if path.suffix == ".safetensors" or _is_safetensors(path):
            from safetensors.torch import load_file

            state: object = load_file(path)
        else:
            _check_archive(path)
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
    names = [str(key) for key in state]
    # DataParallel puts its own name before every other.
    several = len(PARALLEL) if all(name.startswith(PARALLEL) for name in names) else 0
    return {name[several:]: value for name, value in zip(names, state.values(), strict=True)}


def _is_safetensors(path: Path) -> bool:
    """Files of the zoo are named by their digest alone. A safetensors file is a length and a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _check_archive(path: Path) -> None:
    """torch's zip files hold their tensors as they are; a small one that claims to unpack to more is none of them.

    Raises:
        BadInput: entries that are compressed, or larger than the file.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or (
        sum(entry.file_size for entry in entries) > path.stat().st_size
    ):
        raise BadInput(
            "a compressed archive, which torch.save does not write",
            where=str(path),
            hint="save it again with torch.save(model.state_dict(), FILE), or as safetensors",
        )


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
