"""``--set key=value``: dotted keys into a recipe, values in YAML, every mistake answered with what would be right."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from compressors.given import is_reference
from pocketzoo import yamlfile
from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Assignment:
    """One ``--set``: its key and the text after the equals sign."""

    key: str
    value: str

    @property
    def parts(self) -> tuple[str | int, ...]:
        """The key's parts; digits index a list."""
        return tuple(int(part) if part.isdecimal() else part for part in self.key.split("."))


def parse(text: str) -> Assignment:
    """Split ``key=value``.

    Raises:
        BadInput: no equals sign, or no key before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise BadInput(f"--set takes key=value, found {text!r}", hint="for example --set weights=FILE")
    return Assignment(key.strip(), value)


def reaches(tree: Mapping[str, Any], model: type[BaseModel], item: Assignment) -> bool:
    """Whether a recipe has the section (or list element) an assignment goes into."""
    node: Any = tree
    for part in item.parts[:-1]:
        there = part in node if isinstance(node, Mapping) else isinstance(node, list) and part in range(len(node))
        if not there:
            return False
        node = node[part]
    return node is not tree or item.parts[0] in model.model_fields


def apply(tree: Mapping[str, Any], items: Sequence[Assignment], model: type[Model], paths: Sequence[str]) -> Model:
    """The tree with the assignments made, validated.

    Args:
        tree: plain containers; not changed.
        items: later ones win.
        model: what the result must fit.
        paths: dotted keys that name files; relative ones count from the current folder.

    Raises:
        BadInput: an unknown key (with the nearest), or a value that does not fit.
    """
    changed: Any = copy.deepcopy(dict(tree))
    for item in items:
        annotation = _annotation(model, changed, item)
        value = _value(item, annotation)
        if (
            item.key in paths
            and isinstance(value, str)
            and value not in ("as-built", "untrained")
            and not is_reference(value)
        ):
            value = str(Path(value).expanduser().absolute())
        _put(changed, item, value)
    # Built of plain values, the tree has no lines to show; the key says enough.
    return yamlfile.validate(cast(Any, changed), model, "--set")


def known_keys(model: type[BaseModel], tree: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key that can be set, leaves only; list elements as far as the tree has them."""
    for name, field in model.model_fields.items():
        inner = _models_in(field.annotation)
        below = tree.get(name) if isinstance(tree, Mapping) else None
        if not inner:
            yield prefix + name
        elif isinstance(below, list):
            for index, element in enumerate(below):
                yield from known_keys(_of_kind(inner, element), element, f"{prefix}{name}.{index}.")
        elif not _is_list(field.annotation):
            yield from known_keys(inner[0], below, f"{prefix}{name}.")


def _annotation(model: type[BaseModel], tree: Any, item: Assignment) -> Any:
    """The annotation of the field a key means; Any inside free mappings such as ``model.options``."""
    found: Any = model
    node: Any = tree
    for part in item.parts:
        if isinstance(found, type) and issubclass(found, BaseModel):
            if part not in found.model_fields:
                raise _unknown(model, tree, item)
            annotation = found.model_fields[str(part)].annotation
            inner = _models_in(annotation)
            node = node.get(part) if isinstance(node, Mapping) else None
            found = inner[0] if inner and not _is_list(annotation) else (inner or annotation)
        elif isinstance(found, list):  # a list of sections; the element tells which of the models it is
            if not isinstance(part, int) or not isinstance(node, list) or part >= len(node):
                raise _unknown(model, tree, item)
            node = node[part]
            found = _of_kind(found, node)
        elif found is Any or (isinstance(part, str) and getattr(found, "__origin__", None) is dict):
            found = Any
        else:
            raise _unknown(model, tree, item)
    return found


def _unknown(model: type[BaseModel], tree: Any, item: Assignment) -> BadInput:
    known = list(known_keys(model, tree))
    close = did_you_mean(item.key, known)
    return BadInput(
        f"no key {item.key!r} to --set in this recipe",
        detail=(close or f"keys: {', '.join(known)}",),
        hint="compress show RECIPE",
    )


def _value(item: Assignment, annotation: Any) -> Any:
    if item.value.strip() in ("", "null", "~"):
        return None
    # Text stays as it was typed: a folder called 2024, or a pattern full of colons and braces.
    if annotation is str or set(get_args(annotation)) == {str, type(None)}:
        return item.value
    try:
        return yamlfile.plain(YAML(typ="safe", pure=True).load(item.value))
    except (YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"--set {item.key}: {item.value!r} is not a YAML value") from error


def _put(tree: Any, item: Assignment, value: Any) -> None:
    node = tree
    *sections, last = item.parts
    for part in sections:
        if isinstance(node, dict) and node.get(str(part)) is None:
            node[str(part)] = {}
        node = node[part]
    node[last] = value


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list


def _of_kind(models: list[type[BaseModel]], element: Any) -> type[BaseModel]:
    kind = element.get("kind") if isinstance(element, Mapping) else None
    for model in models:
        field = model.model_fields.get("kind")
        if field is not None and kind in get_args(field.annotation):
            return model
    return models[0]
