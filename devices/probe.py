"""Asking a device what it is and how it is, in as few commands as that takes, and holding it against the inventory."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from devices import elf, scripts
from devices.errors import CommandFailed, WrongDevice, tail
from devices.facts import Conditions, DeviceFacts
from devices.parse import parse_conditions, parse_facts
from devices.spec import DeviceSpec, LocalTransport, is_pattern
from devices.transport import Completed
from pocketzoo.files import sha256_bytes

DEADLINE_S = 60.0


class Probed(Protocol):
    """What probing needs of a session."""

    spec: DeviceSpec
    work_dir: str

    def run(
        self, argv: list[str], *, deadline_s: float, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Completed:
        """See :meth:`devices.session.Session.run`."""
        ...

    def push(self, files: Mapping[str, Path]) -> dict[str, str]:
        """See :meth:`devices.session.Session.push`."""
        ...


def read_facts(session: Probed) -> DeviceFacts:
    """What the device is. On this machine the running interpreter is the proof of the ABI; elsewhere tiny programs.

    Raises:
        DeviceError: the device cannot be asked.
    """
    spec = session.spec
    if isinstance(spec.transport, LocalTransport):
        text = _ask(session, scripts.FACTS, [])
        proofs = _interpreter_proof()
        return parse_facts(text, name=spec.name, proofs=proofs, asked=spec.expect, unproven="the interpreter is no ELF")
    with tempfile.TemporaryDirectory(prefix="pocketzoo-elf-") as folder:
        local = {}
        for abi in ("armv8", "armv7", "x86_64", "x86"):
            code = elf.program(abi)
            path = Path(folder) / f"{abi}.bin"
            path.write_bytes(code)
            local[sha256_bytes(code)] = path
        there = session.push(local)
    programs = {there[digest]: path.stem for digest, path in local.items()}
    text = _ask(session, scripts.FACTS, list(programs))
    proofs, unproven = proofs_from(text, programs)
    return parse_facts(text, name=spec.name, proofs=proofs, asked=spec.expect, unproven=unproven)


def read_conditions(session: Probed) -> Conditions:
    """The device at this moment: one command, which reads files with shell builtins (7 ms on a small machine)."""
    text = _ask(session, scripts.CONDITIONS, [session.work_dir])
    return parse_conditions(text, time=datetime.now(UTC))


def proofs_from(text: str, programs: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """Which of the tiny programs ran.

    Args:
        text: the output of the script FACTS.
        programs: ABI by the program's path on the device.

    Returns:
        The proof by ABI, best ABI first, and, where it is empty, the reason.
    """
    machine = re.search(r"^@@ uname\n.*\n.*\n(.*)$", text, re.MULTILINE)
    kernel = machine[1].strip() if machine else ""
    ended: dict[str, str] = {}
    for line in text.partition("@@ elf\n")[2].splitlines():
        path, _, code = line.rpartition(" ")
        if path in programs:
            ended[programs[path]] = code
    proofs = {
        abi: f"a static {abi} ELF ran under kernel machine {kernel}"
        for abi in elf.candidates(kernel)
        if ended.get(abi) == str(elf.RAN)
    }
    codes = ", ".join(f"{abi} exit {code}" for abi, code in ended.items()) or "no program was run"
    reason = f"kernel machine {kernel or 'unknown'}: no test program of its ABIs ran ({codes})"
    return proofs, None if proofs else reason


def check_expectations(spec: DeviceSpec, facts: DeviceFacts) -> None:
    """Hold what was probed against what the inventory says, before anything is measured.

    Checked: every ``expect`` fact; every ABI; the number of cores; and ``soc`` where no ``expect`` identifies it.

    Raises:
        WrongDevice: every contradiction, a line each.
    """
    wrong = contradictions(spec, facts)
    if wrong:
        raise WrongDevice(
            f"the device that answers as {spec.name} is not what the inventory describes",
            device=spec.name,
            output=wrong,
            hint=f"devices show {spec.name}   (or mend the entry in an inventory file)",
        )


def contradictions(spec: DeviceSpec, facts: DeviceFacts) -> tuple[str, ...]:
    """What :func:`check_expectations` complains of, a line each; empty where all holds."""
    wrong = []
    for fact, wanted in spec.expect.items():
        found = fact_value(facts, fact)
        if found is None:
            why = facts.unknown.get(fact, "the device does not say")
            wrong.append(f"{fact}: expected {' or '.join(wanted)}, unknown ({why})")
        elif not holds(found, wanted):
            wrong.append(f"{fact}: expected {' or '.join(wanted)}, found {found}")
    for abi in spec.abis:
        if abi not in facts.abis:
            proven = ", ".join(facts.abis) or f"none ({facts.unknown.get('abis', 'not proven')})"
            wrong.append(f"abis: {abi} is written, proven: {proven}")
    if spec.cores is not None and facts.cores is not None and spec.cores != facts.cores:
        wrong.append(f"clusters: {spec.cores} cores are written, found {facts.cores}")
    # A phone calls its SoC by a code name; where ``expect`` names that, it is the better proof.
    if spec.soc and facts.soc and not spec.expect and not _same_soc(spec.soc, facts.soc):
        wrong.append(f"soc: {spec.soc} is written, found {facts.soc}")
    return tuple(wrong)


def fact_value(facts: DeviceFacts, fact: str) -> str | None:
    """A fact by the name ``expect`` uses, as text: a property, or a field of DeviceFacts. None where it is unknown."""
    if fact in facts.properties:
        return facts.properties[fact]
    if fact not in ("soc", "model", "os_build", "kernel", "cores", "abis"):
        return None
    value = getattr(facts, fact)
    if isinstance(value, tuple):
        return ", ".join(value) or None
    return None if value is None else str(value)


def holds(found: str, wanted: tuple[str, ...]) -> bool:
    """Whether a found value is one of those wanted: equal without regard to case, or fitting a /pattern/."""
    return any(
        re.search(one[1:-1], found, re.IGNORECASE) is not None
        if is_pattern(one)
        else one.casefold() == found.casefold()
        for one in wanted
    )


def _same_soc(written: str, found: str) -> bool:
    one, other = (re.sub(r"[^a-z0-9]", "", text.lower()) for text in (written, found))
    return one in other or other in one


def _ask(session: Probed, script: str, arguments: list[str]) -> str:
    argv = ["sh", "-c", script, "sh", *arguments]
    done = session.run(argv, deadline_s=DEADLINE_S)
    if not done.ok or b"@@ files" not in done.stdout:
        raise CommandFailed(
            "the device could not be probed",
            device=session.spec.name,
            command=argv[:2],
            command_exit=done.exit_code,
            output=tail(done.stdout, done.stderr),
        )
    return done.stdout.decode("utf-8", "replace")


def _interpreter_proof() -> dict[str, str]:
    # The process itself, not sys.executable: that may be a script that starts it.
    for path in (Path("/proc/self/exe"), Path(sys.executable)):
        try:
            with path.open("rb") as file:
                abi = elf.abi_of_header(file.read(20))
        except OSError:
            continue
        if abi:
            return {abi: f"the running Python is an ELF of that class ({path.resolve()})"}
    return {}
