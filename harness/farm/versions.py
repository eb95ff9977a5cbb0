"""What must be the same on both sides of a farm."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from harness.farm.records import Versions
from harness.results import SCHEMA
from pocketzoo import __version__
from pocketzoo.errors import BadInput
from pocketzoo.farm.scheduler import PROTOCOL
from pocketzoo.files import sha256_bytes, sha256_file


@lru_cache(maxsize=1)
def mine() -> Versions:
    """Those of this process."""
    import msgspec

    from harness import agents
    from harness.job import Cell
    from zoo.measurement import Measurement

    folder = Path(agents.__path__[0])
    form = json.dumps(msgspec.json.schema_components([Measurement, Cell]), sort_keys=True, default=str)
    return Versions(
        pocketzoo=__version__,
        farm=PROTOCOL,
        schema=SCHEMA,
        measurement=sha256_bytes(form.encode()),
        runners={path.stem: sha256_file(path) for path in sorted(folder.glob("*_agent.py"))},
    )


def differences(here: Versions, there: Versions) -> tuple[str, ...]:
    """What differs between two members and matters, a line each; empty where they can work together. Pure."""
    lines = []
    if here.farm != there.farm:
        lines.append(f"farm protocol: {here.farm} here, {there.farm} there")
    if here.schema != there.schema:
        lines.append(f"schema of the results: {here.schema} here, {there.schema} there")
    if here.measurement != there.measurement:
        lines.append(f"form of a measurement: {here.measurement[:12]} here, {there.measurement[:12]} there")
    for name in sorted(here.runners.keys() | there.runners.keys()):
        ours, theirs = here.runners.get(name, "none"), there.runners.get(name, "none")
        if ours != theirs:
            lines.append(f"runner {name}: sha256:{ours[:12]} here, sha256:{theirs[:12]} there")
    return tuple(lines)


def check(here: Versions, there: Versions, host: str) -> None:
    """Refuse to work with a member that would measure or store otherwise.

    Raises:
        BadInput: it differs in what matters; both versions are named.
    """
    lines = differences(here, there)
    if lines:
        raise BadInput(
            f"{host} has pocketzoo {there.pocketzoo}, here is {here.pocketzoo}, and they differ in what matters",
            detail=lines,
            where=host,
            hint="install the same version of pocketzoo on every host of the farm",
        )
