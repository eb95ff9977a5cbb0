"""Recipes: what to build and from what, as YAML a person writes.

A recipe names a model, its weights, its data and the steps that make it small. ``parent`` names another recipe whose
values and steps come first, so ``mobilenetv2-quant`` is ``mobilenetv2`` plus one step. What is not in the files, the
user gives: ``--set weights=FILE --set data.evaluation.folder=FOLDER``.

``parent: zoo:REF`` is a float .tflite of the zoo instead: its input, preprocessing and origin come first, and the
recipe's steps work on that file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from compressors import given, settings
from compressors.sections import Quantize, Recipe
from pocketzoo import yamlfile
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_bytes
from pocketzoo.names import did_you_mean

__all__ = [
    "AS_BUILT", "UNTRAINED", "Loaded", "Quantize", "Recipe", "digest_of", "find_recipe", "load", "shipped", "text_of",
]  # fmt: skip

AS_BUILT = "as-built"  # value of ``weights``: those the factory (or the seed) gives
UNTRAINED = "untrained"  # the same, with batch norm's statistics taken from noise
PATHS = (
    "weights",
    "start.checkpoint",
    "data.training.folder",
    "data.training.class_list",
    "data.evaluation.folder",
    "data.evaluation.class_list",
    "data.calibration.folder",
    "data.scenes.backgrounds",
)
LONGEST_CHAIN = 16


@dataclass(frozen=True)
class Loaded:
    """A recipe ready to run: merged, ``--set`` applied, paths absolute.

    ``steps`` of the recipe are the parent's first; ``own_steps`` counts those that are its own. ``given`` is the entry
    of the zoo that the chain begins with, if its root names one as its parent. ``notes`` are for the artifact's record.
    """

    recipe: Recipe
    path: Path
    parent: Loaded | None
    own_steps: int
    given: given.Given | None = None
    notes: tuple[str, ...] = ()

    @property
    def chain(self) -> tuple[Loaded, ...]:
        """The recipes from the root to this one."""
        return (*(self.parent.chain if self.parent else ()), self)


def shipped() -> dict[str, Path]:
    """Name -> file of the recipes that come with this distribution."""
    here = Path(__file__).parent
    # The wheel carries the recipes beside the code; a checkout has them at the top, where people look.
    for folder in (here / "recipes", here.parent / "recipes"):
        found = {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
        if found:
            return found
    return {}


def find_recipe(name: str, beside: Path | None = None) -> Path:
    """The file of a recipe.

    Args:
        name: a shipped recipe's name, or a path that ends in .yaml or .yml.
        beside: a folder whose recipes go before the shipped ones (that of the recipe that names its parent).

    Raises:
        BadInput: no such recipe (with the nearest names) or file.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_absolute() and beside is not None:
            path = beside / path
        if not path.is_file():
            raise BadInput("no such recipe file", where=str(path), hint="compress list")
        return path.absolute()
    known = shipped()
    if beside is not None:
        known = {**known, **{path.stem: path for path in beside.glob("*.yaml")}}
    if name not in known:
        detail = (did_you_mean(name, known) or f"none of {len(known)} known ones is called anything like it",)
        raise BadInput(f"no recipe {name!r}", detail=detail, hint="compress list, or the path of a .yaml file")
    return known[name]


def load(name: str, assignments: Sequence[str] = (), *, beside: Path | None = None) -> Loaded:
    """Find, merge and validate a recipe, then apply ``--set``.

    A setting also holds for the parent where the parent has that section: weights and evaluation photos belong to
    both, calibration photos only to the one that calibrates.

    Args:
        name: see :func:`find_recipe`.
        assignments: ``key=value``, dotted keys, values in YAML.
        beside: see :func:`find_recipe`.

    Raises:
        BadInput: every mistake with file, line, key and what is allowed.
    """
    loaded, _ = _load(find_recipe(name, beside), [settings.parse(text) for text in assignments], ())
    return loaded


def _load(
    path: Path, assignments: Sequence[settings.Assignment], seen: tuple[Path, ...]
) -> tuple[Loaded, dict[str, Any]]:
    """The recipe, and its merged tree as the files have it, without ``--set``."""
    if path in seen or len(seen) >= LONGEST_CHAIN:
        names = " -> ".join(file.stem for file in (*seen, path))
        raise BadInput(f"recipes are each other's parents: {names}", where=str(path))
    tree = yamlfile.read(path)
    parent: Loaded | None = None
    inherited: dict[str, Any] = {}
    entry: given.Given | None = None
    named = tree.get("parent")
    line = yamlfile.line_of(tree, ("parent",))
    if isinstance(named, str) and given.is_reference(named):
        if "model" in tree:
            raise BadInput(
                f"{path.stem} has a model of its own, and parent: {named} is one",
                where=f"{path}:{yamlfile.line_of(tree, ('model',))}",
                hint="leave model out; or name a network's checkpoint with weights: zoo:REF",
            )
        entry = given.model_file(named, f"{path}:{line}")
        inherited = given.inherited(entry)
    elif isinstance(named, str):
        try:
            file = find_recipe(named, beside=path.parent)
        except BadInput as error:
            raise BadInput(error.what, where=f"{path}:{line}", detail=error.detail, hint=error.hint) from error
        parent_assignments = [item for item in assignments if item.key not in ("name", "title", "parent")]
        parent, inherited = _load(file, parent_assignments, (*seen, path))
        entry = parent.given
    own_steps = len(tree["steps"]) if isinstance(tree.get("steps"), list) else 0
    _anchor_paths(tree, path.parent)
    _inherit(tree, inherited)
    recipe = yamlfile.validate(tree, Recipe, str(path))
    merged: dict[str, Any] = yamlfile.plain(tree)
    # The recipe asked for answers for every key; a parent takes what concerns it.
    mine = assignments if not seen else [item for item in assignments if settings.reaches(merged, Recipe, item)]
    if mine:
        recipe = settings.apply(merged, mine, Recipe, PATHS)
    return Loaded(recipe=recipe, path=path, parent=parent, own_steps=own_steps, given=entry), merged


def _anchor_paths(tree: CommentedMap, folder: Path) -> None:
    """Make the paths a recipe file gives relative to that file absolute."""
    for dotted in PATHS:
        *sections, last = dotted.split(".")
        node: Any = tree
        for part in sections:
            node = node.get(part) if isinstance(node, Mapping) else None
        value = node.get(last) if isinstance(node, CommentedMap) else None
        if isinstance(value, str) and value not in (AS_BUILT, UNTRAINED) and not given.is_reference(value):
            node[last] = str(folder / Path(value).expanduser())
    for step in tree.get("steps") or () if isinstance(tree.get("steps"), CommentedSeq) else ():
        for taught in (step, step.get("distil")) if isinstance(step, CommentedMap) else ():
            teacher = taught.get("teacher") if isinstance(taught, CommentedMap) else None
            if not isinstance(teacher, CommentedMap):
                continue
            value = teacher.get("weights")
            if isinstance(value, str) and value != AS_BUILT and not given.is_reference(value):
                teacher["weights"] = str(folder / Path(value).expanduser())


def _inherit(tree: CommentedMap, inherited: Mapping[str, Any]) -> None:
    """Merge the parent's values into a child's tree, which keeps its line numbers for errors.

    Mappings are merged key by key, the child's value wins; the parent's steps come before the child's.
    """
    for key, value in inherited.items():
        if key in ("name", "title", "parent"):
            continue
        if key not in tree:
            tree[key] = value
        elif isinstance(value, Mapping) and isinstance(tree[key], CommentedMap):
            _inherit(tree[key], value)
        elif key == "steps" and isinstance(tree[key], CommentedSeq):
            own: CommentedSeq = tree[key]
            merged = CommentedSeq([*value, *own])
            for index in range(len(own)):
                merged._yaml_set_idx_line_col(len(value) + index, own.lc.data[index])
            tree[key] = merged


def text_of(recipe: Recipe, identities: Mapping[str, str]) -> str:
    """The recipe as YAML, with files and folders named by content.

    Args:
        recipe: merged, after ``--set``.
        identities: dotted key -> ``sha256:...`` for each path in it, so that the text (and its digest) is the same
            wherever the files lie.
    """
    document: dict[str, Any] = recipe.model_dump(mode="json")
    for dotted, identity in identities.items():
        *sections, last = dotted.split(".")
        node: Any = document
        for part in sections:
            node = node[int(part)] if isinstance(node, list) else node[part]
        node[last] = identity
    out = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.width = 4096
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(document, out)
    return out.getvalue()


def digest_of(text: str) -> str:
    """SHA-256 of a recipe's text."""
    return sha256_bytes(text.encode())
