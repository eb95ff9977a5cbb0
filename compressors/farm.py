"""Recipes as jobs of a farm: a worker with a CPU or GPU to spare runs one, its models go to the zoo remote.

The job is ``compress run`` in a process of its own, by ``accelerate launch`` where it takes several GPUs. It ends with
its worker; a training that was ended goes on from its checkpoint when the job comes back to the same host. The recipe
travels as its name, or, where it is a file of the client, as its text; nothing else of the client does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pocketzoo import __version__
from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput, Interrupted, PocketzooError, WorkFailed
from pocketzoo.farm.failure import Said, error_of, failed, said_of
from pocketzoo.farm.leash import run_leashed
from pocketzoo.farm.link import FarmUnavailable, ask, connected
from pocketzoo.farm.running import unwanted
from pocketzoo.files import sha256_bytes
from zoo.remotes import which

LONGEST_RECIPE = 1 << 20
RETURNS = 3
TAIL = 12
LARGEST_TAIL = 16 << 10
LOOK_S = 0.1


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


decodable(Job, Done)


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

    worker = get_worker()
    host = str(worker.name)
    job = msgspec.json.decode(document, type=Job)
    try:
        return msgspec.json.encode(carry_out(job, host, unwanted(worker))).decode()
    except WorkFailed as error:
        ended = error
    except PocketzooError as error:
        return msgspec.json.encode(Done(host=host, error=said_of(error))).decode()
    # Outside of the handler: an error's context travels with it, and the gate lets no class of ours pass but one.
    raise failed(ended)


def carry_out(job: Job, host: str, stop: Callable[[], bool] = lambda: False) -> Done:
    """Run a job here and publish its models to the default remote. The run ends with this process.

    Args:
        job: the job.
        host: the name of this host.
        stop: asked now and then; when it is true the run is ended.

    Raises:
        BadInput: another version of pocketzoo, a recipe that is none, no remote.
        WorkFailed: the run ended without models, or was stopped.
    """
    if job.pocketzoo != __version__:
        raise BadInput(
            f"{host} has pocketzoo {__version__}, the client {job.pocketzoo}: recipes may mean something else there",
            hint="install the same version of pocketzoo on every host of the farm",
        )
    if job.text is None and ("/" in job.recipe or job.recipe.endswith(".yaml")):
        raise BadInput("a recipe by its path is the client's file; it travels as text", hint="compress run --farm")
    which(None)  # hours of training are not begun where nothing can be published
    with tempfile.TemporaryDirectory(prefix="pocketzoo-recipe-") as name:
        folder = Path(name)
        recipe = job.recipe
        if job.text is not None:
            file = folder / "recipe.yaml"
            file.write_text(job.text)
            recipe = str(file)
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            code = run_leashed(
                argv_of(job, recipe), stop=stop, stdout=out, stderr=err, cwd=folder,
                env={**os.environ, **({} if job.gpus else {"CUDA_VISIBLE_DEVICES": ""})},
            )  # fmt: skip
        if code is None:
            raise WorkFailed(f"{job.recipe} was stopped on {host}")
        printed, said = (folder / "stdout").read_bytes(), _tail(folder / "stderr")
    try:
        answer = json.loads(printed)
    except ValueError:
        raise WorkFailed(f"compress ended with exit code {code} on {host}", detail=said) from None
    if "error" in answer:
        error = answer["error"]
        kind = {2: "BadInput"}.get(code, "WorkFailed")
        raise error_of(
            Said(kind=kind, what=str(error["what"]), hint=error.get("next"), detail=tuple(error["detail"])), host
        )
    return Done(host=host, models=tuple(answer["models"]), published=_publish(answer["models"]))


def _tail(file: Path) -> tuple[str, ...]:
    """The last lines; a progress bar makes one line of many."""
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - LARGEST_TAIL))
        text = opened.read().decode("utf-8", "replace")
    return tuple(line[-300:] for line in text.splitlines()[-TAIL:])


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
    """Send jobs to a farm and wait for all of them. A job that an earlier client sent and that runs still is watched.

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
        Interrupted: Ctrl-C; the farm goes on.
    """
    with connected(address, certs) as client:
        need = {"gpu": jobs[0].gpus} if jobs[0].gpus else {"cpu": 1}
        _check_offered(client, need, address)
        futures = [_submitted(client, job, need) for job in jobs]
        told(f"{len(jobs)} jobs sent; they run on without this command, and the same command watches them again")
        answers = []
        try:
            for job, future in zip(jobs, futures, strict=True):
                done = _answer(client, future, address)
                told(f"{job.recipe} {job.tag}: {done.error.what if done.error else 'done on ' + done.host}")
                answers.append(done)
        except KeyboardInterrupt:
            raise Interrupted(
                "this command ends; what was sent to the farm is trained without it",
                where=address,
                hint=f"the same command watches again; harness farm cancel {jobs[0].recipe} --farm {address} ends it",
            ) from None
    return answers


def _submitted(client: Any, job: Job, need: Mapping[str, int]) -> Any:
    """A job as a task that outlives its client. Its name is made from what it says, so that it is never there twice."""
    from distributed import fire_and_forget

    document = msgspec.json.encode(job).decode()
    key = f"compress|{job.recipe}|{job.tag}|{sha256_bytes(document.encode())[:12]}"
    future = client.submit(compress, document, key=key, resources=need, retries=RETURNS, pure=False)
    fire_and_forget(future)
    return future


def _answer(client: Any, future: Any, address: str) -> Done:
    from pocketzoo.farm.failure import TaskFailed

    while not future.done():
        if client.status != "running":
            raise FarmUnavailable(
                "the scheduler went away, and what it had been sent with it",
                where=address,
                hint="the same command, when it is back; a host that has begun goes on from its checkpoint",
            )
        time.sleep(LOOK_S)
    if future.status == "cancelled":
        return Done(host="", error=Said(kind="WorkFailed", what="cancelled"))
    try:
        return msgspec.json.decode(str(future.result(timeout=30)), type=Done)
    except TaskFailed as error:
        return Done(host="", error=error.said())
    except Exception as error:  # KilledWorker, and what else Dask has for a task that cannot run
        return Done(host="", error=Said(kind="WorkFailed", what=f"{type(error).__name__}: {str(error)[:300]}"))


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
