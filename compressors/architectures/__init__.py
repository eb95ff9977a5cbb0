"""The networks a recipe can name.

A name stands for a factory, written ``module:function``; a recipe may also name such a path itself, which is how a
user's own network gets in (``torchvision.models:resnet18``, ``timm:create_model``). Factories are called with the
recipe's ``model.options`` as keyword arguments and nothing else, and return a ``torch.nn.Module`` whose input is
(N, channels, H, W) float32 and whose output is (N, classes) logits. Such a path runs code: run recipes you trust.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean

if TYPE_CHECKING:
    import torch

ARCHITECTURES: Mapping[str, str] = {
    "mobilenetv1": "compressors.architectures.mobilenetv1:mobilenetv1",
    "mobilenetv2": "compressors.architectures.mobilenetv2:mobilenetv2",
    "resnet18": "compressors.architectures.resnet:resnet18",
    "resnet34": "compressors.architectures.resnet:resnet34",
    "resnet50": "compressors.architectures.resnet:resnet50",
    "resnet20-cifar": "compressors.architectures.cifar:resnet20",
    "resnet56-cifar": "compressors.architectures.cifar:resnet56",
    "vgg19-cifar": "compressors.architectures.cifar:vgg19",
    "amc-mobilenetv1-0.5flops": "compressors.architectures.amc:mobilenetv1_half_flops",
    "amc-mobilenetv1-0.5time": "compressors.architectures.amc:mobilenetv1_half_time",
    "amc-mobilenetv2-0.7flops": "compressors.architectures.amc:mobilenetv2_70_flops",
    "mobilenetv1-yolov3": "compressors.architectures.yolov3:mobilenetv1_yolov3",
    "resnet34-yolov3": "compressors.architectures.yolov3:resnet34_yolov3",
    "deeplabv3-mobilenetv2": "compressors.architectures.deeplabv3:deeplabv3_mobilenetv2",
    "fastscnn": "compressors.architectures.fastscnn:fastscnn",
}


def factory(architecture: str) -> Callable[..., Any]:
    """The function that makes a network.

    Args:
        architecture: a name of :data:`ARCHITECTURES`, or ``module:function``; modules of the current folder count.

    Raises:
        BadInput: no such name, module or function.
    """
    path = ARCHITECTURES.get(architecture, architecture)
    module_name, colon, attribute = path.partition(":")
    if not colon:
        close = did_you_mean(architecture, ARCHITECTURES)
        raise BadInput(
            f"no architecture {architecture!r}",
            detail=(close or f"known: {', '.join(sorted(ARCHITECTURES))}",),
            hint="name one of these, or your own as module:function",
        )
    if not module_name or not attribute or module_name.partition(".")[0] in sys.stdlib_module_names:
        # A recipe is data. subprocess:run with its options would make it a script, before anything looks at the result.
        raise BadInput(
            f"{architecture!r} is no network: no module of Python's own library makes one",
            hint="name a module of yours or of a model library, as module:function",
        )
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadInput(
            f"cannot import {module_name!r} for the architecture {architecture!r}: {error}",
            hint="check the spelling, and that the module is installed or lies in the current folder",
        ) from error
    except Exception as error:  # whatever a user's module does when it is imported
        raise BadInput(
            f"{module_name!r} fails while it is imported: {type(error).__name__}: {error}",
            hint="run again with --debug to see where",
        ) from error
    finally:
        sys.path.remove(here)
    found = getattr(module, attribute, None)
    if not callable(found):
        functions = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        close = did_you_mean(attribute, functions)
        raise BadInput(
            f"{module_name} has no function {attribute!r}", where=str(module.__file__), detail=(close,) if close else ()
        )
    return found  # type: ignore[no-any-return]


def source_file(architecture: str) -> Path | None:
    """The file the factory is written in; None where it has none (built in, or made at run time)."""
    try:
        name = inspect.getsourcefile(inspect.unwrap(factory(architecture)))
    except TypeError:
        return None
    return Path(name) if name else None


def build(architecture: str, **options: Any) -> torch.nn.Module:
    """Make a network, in evaluation mode, with the weights its factory gives it.

    Args:
        architecture: a registered name or ``module:function``.
        options: keyword arguments of the factory, such as ``width=0.75``.

    Raises:
        BadInput: no such architecture, an option the factory does not take, or a value it refuses.
    """
    import torch

    make = factory(architecture)
    try:
        signature = inspect.signature(make)
    except ValueError:  # written in C: what it takes only a call can tell
        signature = inspect.signature(lambda **_: None)
    given = ", ".join(f"{name}={value!r}" for name, value in options.items()) or "no arguments"
    try:
        signature.bind(**options)
    except TypeError as error:
        allowed = ", ".join(signature.parameters) or "none"
        raise BadInput(
            f"model.options of {architecture}: {error}", detail=(f"options: {allowed}", f"it was called with {given}")
        ) from error
    try:
        model = make(**options)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{architecture} refuses its options {options}: {error}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInput(
            f"{architecture} fails: {type(error).__name__}: {error}",
            detail=(f"it was called with {given}",),
            hint="run again with --debug to see where",
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise BadInput(
            f"{architecture} returned {type(model).__name__}, not a torch.nn.Module",
            detail=(f"it was called with {given}",),
            hint="name a function that makes a network, as module:function",
        )
    return model.eval()
