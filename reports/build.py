"""Write a report into a folder: the same material gives the same bytes, and only what changed is made again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from reports import collecting, pages, pictures, samples, tables
from reports.archive import OnDisk
from reports.cells import Material
from reports.folder import Folder, key_of
from reports.helper import MANY, Helper, Request
from reports.render import markdown
from reports.view import View

KINDS = ("markdown", "site")
MOST_TOLD = 60  # models of a device in the summary for a terminal


@dataclass(frozen=True)
class Built:
    """A report on disk, and its summary for a terminal.

    ``made`` counts what had to be made anew; ``helped`` says whether a second process took part.
    """

    out: Path
    files: tuple[str, ...]
    cells: int
    made: int
    summary: str
    helped: bool = False


def build(
    material: Material,
    out: Path,
    kinds: Collection[str] = ("markdown",),
    *,
    alone: bool = False,
    curves: Sequence[Path] = (),
) -> Built:
    """Write the report; a file whose content would be the same is not made again, and none is left over.

    A large report of the local state is made by two processes, see :mod:`reports.helper`.

    Args:
        material: what :func:`reports.gather.gather` found.
        out: the folder; made where it is missing.
        kinds: ``markdown``: README.md, the pages beside it and, with matplotlib, the plots; ``site``: a web site under
            ``site/``. Both bring ``cells.json`` with every raw sample.
        alone: without a second process, however large it is.
        curves: the files that ``material`` was gathered with, for the second process.

    Raises:
        BadInput: ``out`` is a file.
    """
    folder = Folder(out)
    request = Request(
        str(out.absolute()), tuple(k for k in KINDS if k in kinds), tuple(str(file.absolute()) for file in curves)
    )
    shared = not alone and isinstance(material.archive, OnDisk) and material.archive.is_local
    with collecting.off(), ExitStack() as stack:
        # Where nothing was built yet the helper reads while this process does.
        early = shared and folder.is_first and len(material.measurements) + len(material.held) > MANY
        helper = stack.enter_context(Helper(request)) if early else None
        view = enter(material, folder, kinds)
        if helper is None and shared and folder.lacking > MANY:
            helper = stack.enter_context(Helper(request))
        collecting.on_again()
        if helper is None:
            names, helped = folder.finish(), False
        else:
            made, helped = helper.run(folder.units, folder.plan())
            folder.made += made
            names = folder.close()
        return Built(out, names, len(material.measurements), folder.made, summary_text(view), helped)


def enter(material: Material, folder: Folder, kinds: Collection[str]) -> View:
    """Enter every file of a report into its folder; nothing is made yet."""
    view = View(material)
    if "markdown" in kinds:
        drawn = pictures.add(folder, view)
        curves, stepped = pictures.sensitivities(folder, view), pictures.pruned(folder, view)
        for name, parts in pages.all_pages(view, drawn, curves, stepped).items():
            folder.add(name, key_of(parts), lambda parts=parts: markdown.page(parts).encode())  # type: ignore[misc]
    if "site" in kinds:
        from reports.site import build as build_site

        build_site(view, folder)
    samples.add(folder, view)
    return view


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
