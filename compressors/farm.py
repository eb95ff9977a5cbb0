"""Recipes as jobs of a farm: a worker with a CPU or GPU to spare runs one, its models go to the zoo remote.

The job is ``compress run`` in a process of its own, by ``accelerate launch`` where it takes several GPUs: a training
that is killed goes on from its checkpoint when the job comes back to the same host. The recipe travels as its name, or,
where it is a file of the client, as its text; nothing else of the client does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pocketzoo import __version__
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.farm.failure import Said, error_of, failed, said_of
from pocketzoo.farm.link import ask, connected

LONGEST_RECIPE = 1 << 20
RETURNS = 3
TAIL = 12


class Job(Struct, frozen=True, kw_only=True):
    """One run of a recipe. ``text`` is the recipe where it is no shipped one; ``gpus`` 0 means a CPU job."""

    pocketzoo: str
    recipe: str
    text: str | None = None
    assignments: tuple[str, ...] = ()
    tag: str = "latest"
    gpus: int = 0


class Done(Struct, frozen=True, kw_only=True):
    """What it gave: the models as ``compress run --json`` prints them, and where they were published."""

    host: str
    models: tuple[dict[str, Any], ...] = ()
    published: tuple[str, ...] = ()
    error: Said | None = None


def argv_of(job: Job, recipe: str) -> list[str]:
    """The command of a job. Pure.

    Args:
        job: the job.
        recipe: a name, or the file its text was written to.
    """
    module = ["-m", "compressors.cli", "run", recipe, "--json", "--tag", job.tag]
    module += [part for text in job.assignments for part in ("--set", text)]
    if job.gpus < 2:
        return [sys.executable, *module]
    return [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(job.gpus), *module]


def compress(document: str) -> str:
    """The task: a :class:`Job` as JSON in, :class:`Done` as JSON out.

    Raises:
        TaskFailed: the process ended without an answer; another host may do better.
    """
    from distributed import get_worker

    host = str(get_worker().name)
    job = msgspec.json.decode(document, type=Job)
    try:
        done = carry_out(job, host)
    except WorkFailed as error:
        raise failed(error) from None
    except PocketzooError as error:
        done = Done(host=host, error=said_of(error))
    return msgspec.json.encode(done).decode()


def carry_out(job: Job, host: str) -> Done:
    """Run a job here and publish its models to the default remote.

    Raises:
        BadInput: another version of pocketzoo, a recipe that is none, no remote.
        WorkFailed: the run ended without models.
    """
    if job.pocketzoo != __version__:
        raise BadInput(
            f"{host} has pocketzoo {__version__}, the client {job.pocketzoo}: recipes may mean something else there",
            hint="install the same version of pocketzoo on every host of the farm",
        )
    if job.text is None and ("/" in job.recipe or job.recipe.endswith(".yaml")):
        raise BadInput("a recipe by its path is the client's file; it travels as text", hint="compress run --farm")
    with tempfile.TemporaryDirectory(prefix="pocketzoo-recipe-") as folder:
        recipe = job.recipe
        if job.text is not None:
            file = Path(folder) / "recipe.yaml"
            file.write_text(job.text)
            recipe = str(file)
        done = subprocess.run(
            argv_of(job, recipe), capture_output=True, stdin=subprocess.DEVNULL, check=False, text=True, cwd=folder,
            env={**os.environ, **({} if job.gpus else {"CUDA_VISIBLE_DEVICES": ""})},
        )  # fmt: skip
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = tuple(line[:300] for line in done.stderr.splitlines()[-TAIL:])
        raise WorkFailed(f"compress ended with exit code {done.returncode} on {host}", detail=last) from None
    if "error" in answer:
        said = answer["error"]
        kind = {2: "BadInput"}.get(done.returncode, "WorkFailed")
        raise error_of(
            Said(kind=kind, what=str(said["what"]), hint=said.get("next"), detail=tuple(said["detail"])), host
        )
    return Done(host=host, models=tuple(answer["models"]), published=_publish(answer["models"]))


def _publish(models: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    from zoo import api

    places = []
    for model in models:
        reference = f"{model['name']}@sha256:{model['digest']}"
        places.append(api.push(reference, tags=(str(model["tag"]),)).address)
    return tuple(dict.fromkeys(places))


def sweep(
    recipes: Sequence[str], assignments: Sequence[str], seeds: Sequence[int], *, tag: str, gpus: int
) -> list[Job]:
    """A job for each recipe and seed; several seeds of one recipe get tags of their own.

    Args:
        recipes: names, or files of this machine.
        assignments: ``key=value`` for all of them.
        seeds: values of ``seed``; none: what each recipe says.
        tag: of the entries; with several seeds ``-seedN`` is put behind it.
        gpus: that each takes; 0: a CPU.

    Raises:
        BadInput: no such recipe, or one that is too large to travel, or with a parent beside it.
    """
    from compressors.recipe import load

    jobs = []
    for name in recipes:
        loaded = load(name, tuple(assignments))
        text = None
        if Path(name).suffix == ".yaml":
            if Path(name).stat().st_size > LONGEST_RECIPE:
                raise BadInput("the recipe is too large to travel", where=name)
            text = Path(name).read_text()
        for seed in seeds or (None,):
            own = tuple(assignments) if seed is None else (*assignments, f"seed={seed}")
            jobs.append(
                Job(
                    pocketzoo=__version__,
                    recipe=loaded.recipe.name if text is None else Path(name).name,
                    text=text,
                    assignments=own,
                    tag=tag if seed is None or len(seeds) < 2 else f"{tag}-seed{seed}",
                    gpus=gpus,
                )
            )
    return jobs


def run_on_farm(jobs: Sequence[Job], address: str, certs: str | None, told: Callable[[str], None]) -> list[Done]:
    """Send jobs to a farm and wait for all of them.

    Args:
        jobs: what is to run.
        address: of the scheduler.
        certs: see :func:`pocketzoo.farm.security.security_for`.
        told: is told of each job that ends.

    Returns:
        One answer for each job, in order; a job that failed has its error.

    Raises:
        BadInput: see :func:`pocketzoo.farm.link.connected`; no host offers what the jobs need.
        FarmUnavailable: the scheduler went away.
    """
    from pocketzoo.farm.failure import TaskFailed

    with connected(address, certs) as client:
        need = {"gpu": jobs[0].gpus} if jobs[0].gpus else {"cpu": 1}
        _check_offered(client, need, address)
        futures = [
            client.submit(
                compress,
                msgspec.json.encode(job).decode(),
                key=f"compress|{job.recipe}|{job.tag}|{os.urandom(4).hex()}",
                resources=need,
                retries=RETURNS,
                pure=False,
            )
            for job in jobs
        ]
        answers = []
        for job, future in zip(jobs, futures, strict=True):
            try:
                done = msgspec.json.decode(str(future.result()), type=Done)
            except TaskFailed as error:
                done = Done(host="", error=error.said())
            except Exception as error:  # KilledWorker, and what else Dask has for a task that cannot run
                done = Done(host="", error=Said(kind="WorkFailed", what=f"{type(error).__name__}: {str(error)[:300]}"))
            told(f"{job.recipe} {job.tag}: {done.error.what if done.error else 'done on ' + done.host}")
            answers.append(done)
    return answers


def _check_offered(client: Any, need: dict[str, int], address: str) -> None:
    workers = ask(client, "identity", n_workers=-1)["workers"].values()
    ((kind, count),) = need.items()
    if not any(worker["resources"].get(kind, 0) >= count for worker in workers):
        offers = [f"{w['name']}: {w['resources'].get(kind, 0):g}" for w in workers if "/" not in str(w["name"])]
        option = "--gpus N" if kind == "gpu" else "--cpu-jobs N"
        raise BadInput(
            f"no host offers {count} {kind}",
            where=address,
            detail=tuple(offers) or ("no host has joined",),
            hint=f"harness farm worker ... {option}, on a host that may train",
        )
