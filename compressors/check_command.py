"""``compress check``: what a recipe makes and what it needs, before hours are spent on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pocketzoo.command import print_json, reporting_options, say

if TYPE_CHECKING:
    from compressors.check import Checked, Size


@click.command("check")
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value; may be repeated.")
@click.option("--export", is_flag=True, help="Also export each untrained, as `compress run --untrained` does; slow.")
@reporting_options
def check_command(recipes: tuple[str, ...], assignments: tuple[str, ...], export: bool, as_json: bool) -> None:
    """Check RECIPEs (names, patterns such as 'resnet56*', .yaml files; all that are shipped by default).

    Each network is built at its real size and each pruning target is held against what can be reached, by structure
    alone: nothing is trained. What a recipe works on is named, and how to give what is missing; that is no failure.
    With a recipe that could not do what it says the command exits 1.
    """
    from compressors.cli import check_packages

    check_packages()
    from compressors.check import check, problem_of
    from compressors.recipe import load
    from pocketzoo.errors import BadInput, WorkFailed

    names = _named(recipes)
    rows: list[dict[str, Any]] = []
    for name in names:
        row: dict[str, Any] = {"recipe": name, "problem": None}
        try:
            loaded = load(name, assignments)
            found = check(loaded)
            row |= _document(found)
            if export:
                row["files"] = _exported(loaded)
        except (BadInput, WorkFailed) as error:
            if len(names) == 1:
                raise
            row["problem"] = problem_of(error)
        rows.append(row)
        if len(names) > 1:
            say(f"{len(rows)} of {len(names)}  {name}{': ' + row['problem'] if row['problem'] else ''}")
    bad = [row for row in rows if row["problem"]]
    if as_json:
        print_json({"recipes": rows})
    elif len(rows) == 1:
        click.echo(_text(found, rows[0].get("files", [])))
    else:
        click.echo(_table(rows))
    if bad:
        say(f"{len(bad)} of {len(rows)} recipes cannot do what they say; next: compress check {bad[0]['recipe']}")
        raise click.exceptions.Exit(1)
    name = rows[0]["recipe"]
    say(f"next: compress run {name}" + (" --untrained" if rows[0]["missing"] else ""))


def _named(recipes: tuple[str, ...]) -> list[str]:
    from fnmatch import fnmatchcase

    from compressors.recipe import shipped
    from pocketzoo.errors import BadInput

    known = list(shipped())
    found: dict[str, None] = {}
    for name in recipes or ("*",):
        fitting = [name] if not set(name) & set("*?[") else [each for each in known if fnmatchcase(each, name)]
        if not fitting:
            raise BadInput(f"no recipe fits {name!r}", hint="compress list, or quote a pattern: 'resnet*'")
        found |= dict.fromkeys(fitting)
    return list(found)


def _exported(loaded: Any) -> list[dict[str, Any]]:
    """Each model of the chain as its untrained file."""
    from compressors.pipeline import compress
    from compressors.progress import OnStderr
    from compressors.untrained import untrained

    progress = OnStderr()
    try:
        products = compress(untrained(loaded), progress)
    finally:
        progress.close()
    return [
        {"name": product.artifact.name, "bytes": product.artifact.size_bytes, "macs": product.artifact.macs}
        for product in products
    ]


def _size(size: Size | None) -> dict[str, int] | None:
    return None if size is None else {"macs": size.macs, "parameters": size.parameters}


def _document(found: Checked) -> dict[str, Any]:
    return {
        "architecture": found.architecture,
        "input": list(found.shape),
        "network": _size(found.network),
        "steps": [{"kind": s.kind, "does": s.told, "after": _size(s.after)} for s in found.steps],
        "needs": [
            {"what": n.what, "found": n.found, "hint": n.hint, "optional": n.optional} for n in found.needs
        ],
        "missing": [need.what for need in found.missing],
    }  # fmt: skip


def _text(found: Checked, files: list[dict[str, Any]]) -> str:
    lines = [
        found.name,
        f"  network    {found.architecture}, {' x '.join(map(str, found.shape))}{_cost(found.network)}",
    ]
    for number, step in enumerate(found.steps, 1):
        uniform = step.kind == "prune" and "uniform" not in step.told and "channels" not in step.told
        lines.append(f"  step {number}     {step.told}{_cost(step.after)}{' with uniform ratios' if uniform else ''}")
    for need in found.needs:
        if need.found is not None:
            lines.append(f"  there      {need.what}: {need.found}")
        else:
            lines.append(f"  {'optional' if need.optional else 'missing':<10} {need.what}: {need.hint}")
    lines += [f"  exported   {file['name']}: {file['bytes'] / 1e6:.2f} MB" for file in files]
    return "\n".join(lines)


def _cost(size: Size | None) -> str:
    return "" if size is None else f": {size.macs / 1e6:.2f} M MACs, {size.parameters / 1e6:.3f} M parameters"


def _table(rows: list[dict[str, Any]]) -> str:
    from tabulate import tabulate

    def cells(row: dict[str, Any]) -> list[str]:
        if row["problem"] is not None or row.get("network") is None:
            return [row["recipe"], "", "", "", row["problem"] or "a file of the zoo"]
        after = [step["after"] for step in row["steps"] if step["after"]]
        last = after[-1]["macs"] if after else row["network"]["macs"]
        removed = f"-{100 * (1 - last / row['network']['macs']):.2f} %" if after else ""
        missing = ", ".join(row["missing"])
        return [
            row["recipe"],
            f"{row['network']['macs'] / 1e6:.1f}",
            f"{last / 1e6:.1f}",
            removed,
            missing or "nothing",
        ]

    headers = ["recipe", "M MACs", "after all steps", "", "missing"]
    return tabulate([cells(row) for row in rows], headers=headers, tablefmt="simple", disable_numparse=True)
