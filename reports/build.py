"""Write a report into a folder: the same material gives the same bytes, and only what changed is made again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from reports import pages, pictures, samples, tables
from reports.cells import Material
from reports.folder import Folder, key_of
from reports.render import markdown
from reports.view import View

KINDS = ("markdown", "site")
MOST_TOLD = 60  # models of a device in the summary for a terminal


@dataclass(frozen=True)
class Built:
    """A report on disk, and its summary for a terminal. ``made`` counts what had to be made anew."""

    out: Path
    files: tuple[str, ...]
    cells: int
    made: int
    summary: str


def build(material: Material, out: Path, kinds: Collection[str] = ("markdown",)) -> Built:
    """Write the report; a file whose content would be the same is not made again, and none is left over.

    Args:
        material: what :func:`reports.gather.gather` found.
        out: the folder; made where it is missing.
        kinds: ``markdown``: README.md, the pages beside it and, with matplotlib, the plots; ``site``: a web site under
            ``site/``. Both bring ``cells.json`` with every raw sample.

    Raises:
        BadInput: ``out`` is a file.
    """
    folder = Folder(out)
    view = View(material)
    if "markdown" in kinds:
        drawn = pictures.add(folder, view)
        curves = pictures.sensitivities(folder, view)
        for name, parts in pages.all_pages(view, drawn, curves).items():
            folder.add(name, key_of(parts), lambda parts=parts: markdown.page(parts).encode())  # type: ignore[misc]
    if "site" in kinds:
        from reports.site import build as build_site

        build_site(view, folder)
    samples.add(folder, view)
    return Built(out, folder.finish(), len(material.measurements), folder.made, summary_text(view))


def summary_text(view: View) -> str:
    """The summary tables for a terminal."""
    if not view.devices:
        return markdown.terminal(tables.accuracy(view, most=MOST_TOLD)) if view.material.held else pages.NEXT_STEPS
    parts = []
    for device in view.devices:
        table = tables.brief(view, device, most=MOST_TOLD)
        parts.append(f"{table.title}\n\n{markdown.terminal(table)}")
        parts += table.notes
    return "\n\n".join(parts)
