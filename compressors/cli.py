"""The ``compress`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from compressors.check_command import check_command
from compressors.search.command import search_command
from compressors.search.curve_command import curve_command
from pocketzoo import command
from pocketzoo.command import print_json, reporting_options, say, version_option
from pocketzoo.errors import BadInput, PocketzooError

if TYPE_CHECKING:
    from compressors.pipeline import Product
    from compressors.recipe import Loaded
    from zoo.artifact import Artifact

NEEDED = {
    "torch": "torch",
    "litert_torch": "litert-torch",
    "ai_edge_quantizer": "ai-edge-quantizer",
    "safetensors": "safetensors",
    "PIL": "pillow",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Make a model small: run recipes that build, compress, export and judge it."""


version_option(group)
group.add_command(check_command)
group.add_command(search_command)
group.add_command(curve_command)


@group.command("list")
@click.argument("pattern", required=False)
@reporting_options
def list_command(pattern: str | None, as_json: bool) -> None:
    """List the recipes that come with this distribution, or those whose name fits PATTERN ('resnet56*', '*-quant')."""
    from fnmatch import fnmatchcase

    from compressors.recipe import load, shipped
    from compressors.telling import steps_told

    names = [name for name in shipped() if pattern is None or fnmatchcase(name, pattern)]
    if not names:
        hint = "compress list, or quote a pattern: compress list 'resnet*'"
        raise BadInput(f"no recipe fits {pattern!r}", hint=hint)
    recipes = [load(name) for name in names]
    if as_json:
        print_json({"recipes": [_summary(loaded) for loaded in recipes]})
        return
    from tabulate import tabulate

    rows = [[r.recipe.name, r.recipe.parent or "", steps_told(r.recipe), r.recipe.title] for r in recipes]
    click.echo(tabulate(rows, headers=["recipe", "parent", "steps", "title"], tablefmt="simple"))
    say("next: compress show RECIPE")


@group.command("show")
@click.argument("recipe")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value; may be repeated.")
@reporting_options
def show_command(recipe: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Show RECIPE with its parent's values merged in, and the keys --set takes."""
    from compressors.recipe import Recipe, load, text_of
    from compressors.settings import known_keys

    loaded = load(recipe, assignments)
    if as_json:
        print_json({**_summary(loaded), "values": loaded.recipe.model_dump(mode="json")})
        return
    click.echo(text_of(loaded.recipe, {}), nl=False)
    keys = ", ".join(known_keys(Recipe, loaded.recipe.model_dump()))
    say(f"file: {loaded.path}\nkeys for --set: {keys}")


@group.command("run")
@click.argument("recipe")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value; may be repeated.")
@click.option("--out", type=click.Path(file_okay=False), metavar="DIR", help="Also copy the file and its record here.")
@click.option("--onnx", is_flag=True, help="Also export the float network to .onnx, into --out.")
@click.option(
    "--untrained", is_flag=True, help="Train nothing and read no data: the structure alone, for its size and time."
)
@click.option("--tag", help="The tag of the zoo entry.  [default: latest; with --untrained: untrained]")
@click.option("--farm", metavar="URL", help="Run it on a farm (tls://HOST:8786); models go to the remote.")
@click.option("--also", multiple=True, metavar="RECIPE", help="With --farm: another recipe of the sweep; repeatable.")
@click.option("--seeds", metavar="N,N", help="With --farm: a job for each seed, tagged TAG-seedN.")
@click.option("--gpus", type=click.IntRange(0, 64), default=0, help="With --farm: GPUs of each job; 0 takes a CPU.")
@click.option("--certs", metavar="DIR", help="With --farm: certificates of this machine.")
@reporting_options
def run_command(
    recipe: str,
    assignments: tuple[str, ...],
    out: str | None,
    onnx: bool,
    untrained: bool,
    tag: str | None,
    farm: str | None,
    also: tuple[str, ...],
    seeds: str | None,
    gpus: int,
    certs: str | None,
    as_json: bool,
) -> None:
    """Run RECIPE: a name from `compress list` or a .yaml file. Its models go into the local zoo.

    Finished stages are kept: a second run does only what has changed. With --untrained the network has the weights it
    is built with: what it will take on a device is known before it is trained.
    """
    from compressors import processes
    from zoo.reference import check_tag

    tag = tag or ("untrained" if untrained else "latest")
    if farm is not None:
        if untrained:
            raise BadInput("--untrained has no work for a farm", hint="leave --farm out")
        check_tag(tag)
        if out is not None or onnx:
            raise BadInput("on a farm models go to the zoo remote", hint="leave --out and --onnx out; zoo pull NAME")
        _on_farm((recipe, *also), assignments, _seeds(seeds), tag, gpus, farm, certs, as_json=as_json)
        return
    if also or seeds or gpus or certs:
        raise BadInput("--also, --seeds, --gpus and --certs are for jobs of a farm", hint="add --farm tls://HOST:8786")
    if not processes.is_main():
        _take_part(recipe, assignments, out, tag, onnx=onnx, untrained=untrained)
        return
    loaded = processes.first(lambda: _checked(recipe, assignments, out, tag, onnx=onnx, untrained=untrained))
    from compressors.pipeline import compress
    from compressors.progress import OnStderr
    from zoo import curves
    from zoo.store import Store

    progress = OnStderr()
    try:
        products = compress(loaded, progress, onnx=onnx)
    finally:
        progress.close()
    store = Store()
    for product in products:
        store.add(product.artifact, {product.artifact.files[0].name: product.file}, tags=(tag,))
        curves.keep(store.root, product.artifact.digest, list(product.curves))
    if out is not None:
        _copy(products[-1], Path(out))
    if as_json:
        print_json({"recipe": loaded.recipe.name, "models": [_document(product, tag) for product in products]})
    else:
        for index, product in enumerate(products):
            click.echo(_told(product, products[index - 1].artifact if index else product.given))
    _warn(products)
    name = loaded.recipe.name + ("" if tag == "latest" else f":{tag}")
    say(f"next: harness run --device local --model {name}")


def _warn(products: list[Product]) -> None:
    for product in products:
        for note in product.artifact.notes:
            if note.startswith("warning:"):
                say(f"{product.artifact.name}: {note}")


def _check_onnx(out: str | None) -> None:
    from compressors.onnx import check_extra

    if out is None:
        raise BadInput("--onnx needs a folder to write to", hint="add --out DIR")
    check_extra()


def _seeds(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise BadInput(f"not seeds: {text!r}", hint="write whole numbers with commas, e.g. --seeds 1,2,3")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _on_farm(
    recipes: tuple[str, ...],
    assignments: tuple[str, ...],
    seeds: tuple[int, ...],
    tag: str,
    gpus: int,
    farm: str,
    certs: str | None,
    *,
    as_json: bool,
) -> None:
    """A sweep as jobs of a farm; exit 1 where one failed."""
    from compressors.farm import run_on_farm, sweep

    jobs = sweep(recipes, assignments, seeds, tag=tag, gpus=gpus)
    answers = run_on_farm(jobs, farm, certs, say)
    if as_json:
        print_json([{"job": job, "done": done} for job, done in zip(jobs, answers, strict=True)])
    else:
        for done in answers:
            for model in done.models:
                click.echo(f"{model['name']}:{model['tag']}  sha256:{model['digest']}  {', '.join(done.published)}")
    for done in answers:
        if done.error is not None:
            from pocketzoo.farm.failure import error_of

            say(error_of(done.error, done.host or None).as_text())
    if any(done.error is not None for done in answers):
        raise click.exceptions.Exit(1)


def _checked(
    recipe: str, assignments: tuple[str, ...], out: str | None, tag: str, *, onnx: bool, untrained: bool
) -> Loaded:
    """The recipe to run, once everything that can be refused at once was looked at."""
    from compressors.recipe import load
    from zoo.reference import check_tag

    check_tag(tag)
    loaded = load(recipe, assignments)
    check_packages()
    if onnx:
        _check_onnx(out)
    if untrained:
        from compressors.untrained import untrained as without_training

        return without_training(loaded)
    return loaded


def _take_part(
    recipe: str, assignments: tuple[str, ...], out: str | None, tag: str, *, onnx: bool, untrained: bool
) -> None:
    """What the other processes of ``accelerate launch`` do: their share of each training, without a word."""
    from compressors import processes

    try:
        loaded = processes.first(lambda: _checked(recipe, assignments, out, tag, onnx=onnx, untrained=untrained))
        from compressors.pipeline import compress
        from compressors.progress import Silent

        compress(loaded, Silent(), onnx=onnx)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except PocketzooError as error:  # such as a photo that is broken on this host alone
        say(f"process {processes.rank()}: {error.as_text()}")
        raise SystemExit(error.exit_code) from error


def check_packages() -> None:
    """Refuse to begin where packages for compressing are missing.

    Raises:
        BadInput: names them.
    """
    from importlib.util import find_spec

    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise BadInput(
            f"compressing needs packages that are not installed: {', '.join(missing)}",
            hint="pip install 'pocketzoo[compress]'",
        )


def _summary(loaded: Loaded) -> dict[str, object]:
    recipe = loaded.recipe
    return {
        "name": recipe.name,
        "title": recipe.title,
        "parent": recipe.parent,
        "architecture": recipe.model.architecture,
        "steps": [step.model_dump() for step in recipe.steps],
        "path": str(loaded.path),
    }


def _document(product: Product, tag: str) -> dict[str, object]:
    artifact = product.artifact
    return {
        "name": artifact.name,
        "tag": tag,
        "digest": artifact.digest,
        "size_bytes": artifact.size_bytes,
        "accuracy": artifact.accuracy,
        "macs": artifact.macs,
        "parameters": artifact.parameters,
        "recipe_digest": artifact.recipe.digest if artifact.recipe else None,
        "parent": artifact.parent,
        "notes": artifact.notes,
        "stages": [{"name": s.name, "reused": s.reused, "note": s.note} for s in product.stages],
    }


def _told(product: Product, parent: Artifact | None) -> str:
    from zoo.artifact import AGREEMENT

    artifact = product.artifact
    size = f"{artifact.size_bytes / 1e6:.2f} MB"
    if parent is not None:
        size += f", {parent.size_bytes / artifact.size_bytes:.2f}x smaller than {parent.name}"
    labels = [{AGREEMENT: "agreement"}.get(entry.metric, entry.metric) for entry in artifact.accuracy]
    wide = max(map(len, ("accuracy  ", *labels)))
    lines = [artifact.name, f"  {'size':<{wide}} {size}"]
    for label, entry in zip(labels, artifact.accuracy, strict=True):
        low, high = entry.ci95 or (entry.value, entry.value)
        lines.append(
            f"  {label:<{wide}} {entry.value:.1f} % (95 % interval {low:.1f} to {high:.1f}), "
            f"{entry.samples} photos of {entry.dataset}/{entry.split}"
        )
    if not artifact.accuracy:
        lines.append(f"  {'accuracy':<{wide}} not measured: --set data.evaluation.folder=FOLDER gives labelled photos")
    lines.append(f"  {'sha256':<{wide}} {artifact.digest}")
    return "\n".join(lines)


def _copy(product: Product, folder: Path) -> None:
    from pocketzoo.files import write_atomically
    from zoo.artifact import encode

    write_atomically(folder / product.artifact.files[0].name, product.file.read_bytes())
    write_atomically(folder / f"{product.artifact.name}.json", encode(product.artifact))
    if product.onnx is not None:
        write_atomically(folder / f"{product.artifact.name}.onnx", product.onnx.read_bytes())


def main() -> NoReturn:
    """Console entry point."""
    command.run(group, "compress")


if __name__ == "__main__":  # accelerate launch -m compressors.cli run RECIPE
    main()
