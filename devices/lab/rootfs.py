"""The two Debian root file systems, arm64 and armhf: built once, kept outside the checkout, named by their content.

Each lives in the cache folder as `rootfs-<architecture>-<key>` and is there whole or not at all. It is only ever
mounted read-only, so any number of virtual devices run from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from devices.lab import needs, provision
from devices.lab.identity import ArmAbi
from pocketzoo.errors import WorkFailed

Say = Callable[[str], None]
ABIS: tuple[ArmAbi, ...] = ("armv8", "armv7")
TRIES = 3
_SAID = 4  # lines of a tool's output in an error


def cache() -> Path:
    """Where root file systems are kept: $POCKETZOO_LAB_CACHE, else the platform's cache folder."""
    override = os.environ.get("POCKETZOO_LAB_CACHE")
    if override:
        return Path(override).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("pocketzoo", appauthor=False)) / "lab"


def path_of(abi: ArmAbi) -> Path:
    """Where the root file system of that ABI is, or will be."""
    return cache() / f"rootfs-{provision.ARCHITECTURES[abi].debian}-{provision.key(abi)}"


def built(abi: ArmAbi) -> bool:
    """Whether it is there."""
    return path_of(abi).is_dir()


def ensure(abi: ArmAbi, *, say: Say) -> Path:
    """Have a root file system. Two processes that want the same one build it once: the second waits.

    Args:
        abi: which.
        say: told what is going on, as building takes a minute or two.

    Raises:
        WorkFailed: something it takes is missing, or the build failed three times.
    """
    final = path_of(abi)
    if final.is_dir():
        return final
    needs.check(build=True)
    with _alone(abi, say):
        if final.is_dir():
            return final
        _sweep(abi)
        start = time.monotonic()
        say(f"building the {abi} root file system (once; one to three minutes): {final}")
        temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=_prefix(abi)))
        try:
            temporary.chmod(0o755)
            _debian(temporary, abi, say)
            say(f"  {abi}: installing the TFLite runtime")
            provision.provision(temporary, abi)
            say(f"  {abi}: checking it")
            _prove(temporary, abi)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        say(f"  {abi}: built in {time.monotonic() - start:.0f} s")
    return final


def mirror(listed: str, suite: str) -> str | None:
    """The Debian mirror of this machine's own apt configuration.

    Args:
        listed: lines of `URI release`, as `apt-get indextargets` prints them.
        suite: the release that is built.

    Returns:
        The one that is configured for that suite, else one that has another release of Debian, else None: the
        builder's own default.
    """
    pairs = [line.split()[:2] for line in listed.splitlines() if len(line.split()) >= 2]
    main = [uri for uri, release in pairs if release == suite]
    others = [uri for uri, _ in pairs if uri.rstrip("/").endswith("/debian")]
    return next(iter([*main, *others]), None)


def _prefix(abi: ArmAbi) -> str:
    return f".building-{provision.ARCHITECTURES[abi].debian}-"


def _sweep(abi: ArmAbi) -> None:
    """Remove what a build that was killed has left; we hold the lock, so nobody builds there now."""
    for left in cache().glob(f"{_prefix(abi)}*"):
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _alone(abi: ArmAbi, say: Say) -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{provision.ARCHITECTURES[abi].debian}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process builds the {abi} root file system; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _debian(root: Path, abi: ArmAbi, say: Say) -> None:
    listing = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    # With a mirror named, the main suite alone is used: the point releases are in it, and one index can fail less.
    chosen = mirror(listed, provision.SUITE)
    argv = ["mmdebstrap", f"--arch={provision.ARCHITECTURES[abi].debian}", "--variant=essential"]
    argv += [f"--include={','.join(provision.PACKAGES)}", "--aptopt=Acquire::Retries 3", provision.SUITE, str(root)]
    argv += [chosen] if chosen else []
    said: list[str] = []
    for attempt in range(1, TRIES + 1):
        done = _apart(argv)
        if done.returncode == 0:
            return
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("E:", "Err"))]
        said = said or done.stderr.splitlines()
        if attempt < TRIES:
            say(f"  {abi}: attempt {attempt} failed ({said[-1] if said else done.returncode}); trying again")
            for part in root.iterdir():
                shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()
            time.sleep(5 * attempt)
    raise WorkFailed(
        f"the {abi} root file system could not be built ({TRIES} attempts)",
        detail=tuple(said[-_SAID:]),
        hint="apt-get update && devices lab up",
    )


def _prove(root: Path, abi: ArmAbi) -> None:
    """Run it: the right processor answers and the runtime loads."""
    wanted = provision.ARCHITECTURES[abi].machine
    pythons = {"/usr/bin/python3": "tflite_runtime.interpreter"}
    if abi == "armv8":
        pythons[provision.LITERT_PYTHON] = "ai_edge_litert.interpreter"
    for python, module in pythons.items():
        program = f"import os, numpy, importlib; importlib.import_module({module!r}); print(os.uname().machine)"
        done = _apart(["chroot", str(root), python, "-c", program])
        if done.returncode or done.stdout.strip() != wanted:
            raise WorkFailed(
                f"the {abi} root file system was built, and {module} does not load in it",
                detail=tuple((done.stderr or done.stdout).strip().splitlines()[-_SAID:]),
                hint="report this with the lines above",
            )


def _apart(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a tool whose mounts end with it, also when it is killed; without our environment's Python settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QEMU_", "LD_"))}
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**env, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "TMPDIR": str(cache())},
        check=False,
    )
