"""YAML that a person writes: every mistake answered with file, line, key and what would be allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean

LARGEST = 4 << 20  # bytes; a file a person writes is far smaller, and aliases can blow up what is parsed


# pydantic's words for these name Python's types; a person wrote YAML.
EXPECTED = {
    "tuple_type": "expected a list: [a, b] or lines that begin with -",
    "list_type": "expected a list: [a, b] or lines that begin with -",
    "dict_type": "expected a mapping (key: value)",
    "model_type": "expected a mapping (key: value)",
    "model_attributes_type": "expected a mapping (key: value)",
}


class Section(BaseModel):
    """Base of every part of a file a person writes: unknown keys are errors, values are not converted between kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=BaseModel)


def read(path: Path) -> CommentedMap:
    """Parse a YAML 1.2 file whose top level is a mapping, keeping line numbers.

    Raises:
        BadInput: not there, not readable, not YAML (with line and column), a duplicate key, or no mapping.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(
                f"{path.name} is larger than {LARGEST >> 20} MiB; that is no file a person wrote",
                where=str(path),
            )
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 text (byte {error.start})", where=str(path)) from error
    except IsADirectoryError as error:
        raise BadInput("a folder, where a YAML file is expected", where=str(path)) from error
    except FileNotFoundError as error:
        raise BadInput("no such file", where=str(path)) from error
    return parse(text, str(path))


def parse(text: str, where: str) -> CommentedMap:
    """Like :func:`read`, for text that is already in memory. ``where`` names it in errors."""
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        problem = (error.problem or error.context or "not YAML").strip().splitlines()[0]
        raise BadInput(f"not valid YAML: {problem}", where=place, hint=_yaml_hint(problem)) from error
    except (YAMLError, ValueError, RecursionError) as error:
        first = (str(error) or "nested too deeply").splitlines()[0]
        raise BadInput(f"not valid YAML: {first}", where=where) from error
    if not isinstance(tree, CommentedMap):
        kind = "empty" if tree is None else type(tree).__name__
        raise BadInput(f"expected a mapping (key: value) at the top, found {kind}", where=f"{where}:1")
    return tree


def _yaml_hint(problem: str) -> str:
    if "duplicate key" in problem:
        return "write the key once"
    if "\\t" in problem:
        return "indent with spaces; YAML allows no tabs"
    return "check the indentation around that line"


def validate(tree: CommentedMap, model: type[Model], where: str, *, at: tuple[str | int, ...] = ()) -> Model:
    """Turn a parsed tree into a pydantic model.

    Args:
        tree: what :func:`read` gave, or a part of it.
        model: the pydantic model it must fit.
        where: the file's name for errors.
        at: the path of ``tree`` inside the file, so that keys are named in full.

    Raises:
        BadInput: every mistake at once, a line each: file:line, key, what is wrong, what is allowed.
    """
    try:
        return model.model_validate(plain(tree))
    except ValidationError as error:
        lines = tuple(dict.fromkeys(_describe(problem, tree, model, where, at) for problem in error.errors()))
        count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise BadInput(f"{count} in {Path(where).name}", detail=lines, where=where) from error


def plain(node: Any) -> Any:
    """ruamel's containers and scalar classes as plain Python values (strict validation wants exact types)."""
    if isinstance(node, Mapping):
        return {plain(key): plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def line_of(tree: Any, path: Sequence[str | int]) -> int | None:
    """The 1-based line of a key path inside a parsed tree; the line of the nearest parent where the end is missing."""
    line: int | None = None
    node = tree
    for part in path:
        try:
            if isinstance(node, CommentedMap) and part in node:
                line = node.lc.key(part)[0] + 1
                node = node[part]
            elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
                line = node.lc.item(part)[0] + 1
                node = node[part]
            else:
                break
        except (AttributeError, KeyError, TypeError):
            break
    return line


def _describe(problem: Any, tree: CommentedMap, model: type[BaseModel], where: str, at: tuple[str | int, ...]) -> str:
    path = _in_tree(tree, problem["loc"])
    line = line_of(tree, path) or (tree.lc.line + 1 if hasattr(tree, "lc") else None)
    place = f"{where}:{line}" if line else where
    kind = problem["type"]
    if kind in ("union_tag_invalid", "union_tag_not_found"):  # of a tagged union: the key is meant, not its section
        path = (*path, problem["ctx"]["discriminator"].strip("'"))
        line = line_of(tree, path) or line
        place = f"{where}:{line}" if line else where
    key = _dotted((*at, *path))
    if kind == "union_tag_not_found":
        text = "missing"
    elif kind == "union_tag_invalid":
        known = [tag.strip(" '") for tag in problem["ctx"]["expected_tags"].split(",")]
        close = did_you_mean(str(problem["ctx"]["tag"]), known)
        text = f"no {problem['ctx']['tag']!r}; {close or 'known: ' + ', '.join(known)}"
    elif kind == "extra_forbidden":
        allowed = _allowed_keys(model, problem["loc"][:-1])
        close = did_you_mean(str(path[-1]), allowed)
        text = f"unknown key; {close}" if close else "unknown key"
        if allowed:
            text += f" (allowed: {', '.join(allowed)})"
    elif kind == "missing":
        text = "missing"
    elif kind in ("value_error", "assertion_error"):
        text = str(problem["ctx"].get("error", problem["msg"]))
    else:
        found = repr(problem["input"])
        found = found if len(found) <= 60 else f"{found[:57]}..."
        expected = EXPECTED.get(kind)
        text = (
            f"{expected}, found {found}"
            if expected
            else f"{problem['msg'][0].lower()}{problem['msg'][1:]}, found {found}"
        )
    return f"{place}: {key}: {text}"


def _in_tree(tree: Any, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """pydantic's location without the parts that name a union member instead of a key of the file."""
    path: list[str | int] = []
    node = tree
    for index, part in enumerate(loc):
        listed = isinstance(node, list) and isinstance(part, int) and part < len(node)
        if listed or (isinstance(node, Mapping) and part in node):
            node = node[part]
        elif not (index == len(loc) - 1 and isinstance(node, Mapping) and isinstance(part, str)):
            continue  # the name of a union member; the last part may be the key that is missing
        path.append(part)
    return tuple(path)


def _allowed_keys(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys the model at ``loc`` has; empty where it cannot be told."""
    found: Any = model
    for part in loc:
        if isinstance(found, type) and issubclass(found, BaseModel) and part in found.model_fields:
            found = found.model_fields[str(part)].annotation
            candidates = _models_in(found)
            if len(candidates) == 1:
                found = candidates[0]
            elif candidates:
                found = candidates
        elif isinstance(found, list):
            named = [c for c in found if part in (c.__name__, *_tags(c))]
            found = named[0] if named else found
    if isinstance(found, type) and issubclass(found, BaseModel):
        return tuple(field.alias or name for name, field in found.model_fields.items())
    return ()


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    """The discriminator values of a member of a tagged union (its ``kind``)."""
    from typing import get_args

    field = model.model_fields.get("kind")
    return tuple(str(value) for value in get_args(field.annotation)) if field else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every pydantic model inside an annotation such as ``dict[str, A] | None`` or ``list[A | B]``."""
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text or "(top)"
