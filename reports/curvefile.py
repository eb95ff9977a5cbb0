"""Sensitivity curves of a file as pictures."""

from __future__ import annotations

import json
from pathlib import Path

from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically
from reports.drawings import sensitivity

MOST_BYTES = 64 << 20
FROM = "compress run RECIPE writes one for recipes that search by sensitivity"


def draw(file: Path, out: Path) -> list[Path]:
    """Write ``sensitivity.svg`` and ``sensitivity.png`` into a folder; the paths.

    Args:
        file: the curves, see :func:`reports.drawings.sensitivity`.
        out: the folder; made where it is missing.

    Raises:
        BadInput: the file holds no curves, or matplotlib is not installed.
    """
    from reports.render import curves, plots

    if not plots.available():
        raise BadInput("matplotlib is not installed", where="reports", hint="pip install 'pocketzoo[reports]'")
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES >> 20} MiB")
        drawn = sensitivity(file.stem if file.parent.name == "" else file.parent.name, json.loads(file.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput("no sensitivity curves", where=str(file), hint=FROM, detail=(str(error)[:200],)) from error
    found = []
    for kind, data in sorted(curves.sensitivity(drawn).items(), reverse=True):
        path = out / f"sensitivity.{kind}"
        write_atomically(path, data, durable=False)
        found.append(path)
    return found
