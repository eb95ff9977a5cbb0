"""Photos in folders: found, opened, labelled and identified by content."""

from __future__ import annotations

import hashlib
import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
MOST_PIXELS = 1 << 26  # of one photo: 200 MB once it is decoded
_HEADERS = threading.Lock()


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo and the index of its class."""

    path: Path
    label: int


def list_photos(folder: Path, key: str) -> list[Path]:
    """Every photo below a folder, hidden ones left out, in an order that depends on names alone.

    Args:
        folder: where to look, also in its subfolders.
        key: the recipe key that names the folder, for errors.

    Raises:
        BadInput: no such folder, or no photo in it.
    """
    if not folder.is_dir():
        what = "a file, where a folder of photos is expected" if folder.exists() else "no such folder of photos"
        raise BadInput(what, where=str(folder), hint=f"--set {key}=FOLDER")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not found:
        raise BadInput(
            f"no photo in the folder (looked for {', '.join(SUFFIXES)})",
            where=str(folder),
            hint=f"--set {key}=FOLDER",
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def labelled_photos(folder: Path, labels: Literal["names", "folders"], pattern: str, key: str) -> list[LabelledPhoto]:
    """The labelled photos of a folder.

    Args:
        folder: where they are.
        labels: ``names``: the file name holds the class index, as in ``imagenet_03_990.jpg``; files that do not match
            the pattern are left out. ``folders``: one folder for each class (the ImageFolder layout), numbered in
            the order of their names.
        pattern: for ``names``, a regular expression searched in the file name, with a group called ``label``.
        key: the recipe key of this section, for errors.

    Raises:
        BadInput: no photos, no photo whose name matches, or photos outside the class folders.
    """
    photos = list_photos(folder, f"{key}.folder")
    if labels == "folders":
        return _by_folder(folder, photos, key)
    expression = re.compile(pattern)
    found = [
        LabelledPhoto(path, int(match["label"]))
        for path in photos
        if (match := expression.search(path.name)) is not None
    ]
    if not found:
        raise BadInput(
            f"none of {len(photos)} photos has a name that matches the label pattern {pattern!r}",
            where=str(folder),
            detail=(f"names there: {', '.join(path.name for path in photos[:4])}",),
            hint=f"--set {key}.pattern='_(?P<label>\\d+)\\.', or --set {key}.labels=folders for one folder per class",
        )
    return found


def _by_folder(folder: Path, photos: Sequence[Path], key: str) -> list[LabelledPhoto]:
    classes = {
        name: index for index, name in enumerate(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    }
    loose = [path for path in photos if path.parent == folder]
    if loose:
        raise BadInput(
            f"{len(loose)} photos lie outside the class folders, {loose[0].name} for one",
            where=str(folder),
            hint=f"put them into a folder per class, or --set {key}.labels=names",
        )
    return [LabelledPhoto(path, classes[path.relative_to(folder).parts[0]]) for path in photos]


def open_photo(path: Path) -> Image:
    """Decode a photo as RGB. Several threads may do so at once.

    Raises:
        BadInput: a file that is no photo, or a damaged or suspiciously large one.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # EXIF remarks are silenced. The list of warning filters belongs to the whole process, so one thread at a time.
        with _HEADERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(path)
        with image:
            if image.width * image.height > MOST_PIXELS:
                raise BadInput(
                    f"a photo of {image.width} x {image.height} pixels; at most {MOST_PIXELS:,} are decoded",
                    where=str(path),
                    hint="make it smaller, or remove it",
                )
            # By way of RGBA a palette with transparency is converted without a remark.
            transparent = image.mode == "P" and "transparency" in image.info
            return (image.convert("RGBA") if transparent else image).convert("RGB")
    except UnidentifiedImageError as error:
        raise BadInput("not a photo that can be decoded", where=str(path), hint="remove it, or replace it") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError) as error:
        # OSErrors with a number are the disk's (not found, no permission), the others the decoder's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInput(
            "a damaged photo", where=str(path), detail=(str(error)[:200],), hint="remove it, or replace it"
        ) from error


def fingerprint(folder: Path, paths: Sequence[Path]) -> str:
    """SHA-256 over names (relative to ``folder``) and contents: the same photos elsewhere have the same one."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()
