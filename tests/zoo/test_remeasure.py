"""What a figure measured again says of the published one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pocketzoo.errors import BadInput
from tests.records import measurement_for, repeat_of
from zoo.artifact import Artifact, FileRecord
from zoo.measurement import InstructionSummary, Measurement
from zoo.remeasure import Again, figures_to_check, find_remeasure, judge
from zoo.stats import summarise
from zoo.store import Entry

NET = Artifact(name="net", format="tflite", files=(FileRecord(name="net.tflite", sha256="c" * 64, size=1),))


def measured(*medians_us: float, spread: int = 20, **fields: Any) -> Measurement:
    verdict = fields.pop("verdict", "valid")
    repeats = tuple(
        repeat_of([round(median * 1000) + step * spread // 20 for step in range(-20, 21)]) for median in medians_us
    )
    base = measurement_for(NET, verdict=verdict)
    return msgspec.structs.replace(base, repeats=repeats, summary=summarise(repeats), **fields)


PUBLISHED = measured(1000, 1001, 1002)


@pytest.mark.parametrize(
    ("again", "outcome"),
    [
        ((1000, 1001, 1002), "reproduced"),
        ((1020, 1021, 1022), "reproduced"),  # apart, but within the tolerance
        ((980, 981, 982), "reproduced"),
        ((1100, 1101, 1102), "slower"),
        ((900, 901, 902), "faster"),
        ((1030, 1047, 1075), "cannot tell"),  # neither within the tolerance nor clearly beyond
        ((990, 1001, 1300), "reproduced"),  # so wide that it holds the published one
    ],
)
def test_the_rule(again: tuple[float, ...], outcome: str) -> None:
    found = judge(Again(PUBLISHED, measured(*again)))
    assert found.outcome == outcome, found.says
    assert found.ok is (outcome == "reproduced")
    assert found.ratio is not None


def test_the_tolerance_is_the_users() -> None:
    apart = Again(PUBLISHED, measured(1100, 1101, 1102))
    assert judge(apart, tolerance=0.2).ok
    assert not judge(apart, tolerance=0.05).ok
    assert judge(Again(PUBLISHED, measured(1020, 1021, 1022)), tolerance=0.0).outcome == "slower"


def test_what_is_not_valid_passes_nothing() -> None:
    for verdict in ("contended", "throttled", "unstable", "clamped", "emulated"):
        found = judge(Again(PUBLISHED, measured(1000, 1001, 1002, verdict=verdict)))
        assert (found.outcome, found.ok) == ("cannot tell", False)
        assert f"is {verdict}, not valid" in found.says
    failed = msgspec.structs.replace(measured(1000, verdict="failed", error="it crashed"), summary=None)
    assert judge(Again(PUBLISHED, failed)).says == "measuring failed: it crashed"
    assert judge(Again(PUBLISHED, None, "kirin970 runs armv8")).says == "it could not be measured: kirin970 runs armv8"


def test_another_system_or_runner_is_told() -> None:
    device = msgspec.structs.replace(PUBLISHED.device, fingerprint="9" * 64, os_build="Linux 7")
    runner = msgspec.structs.replace(PUBLISHED.runner, binary_sha256="9" * 64, version="3")
    found = judge(Again(PUBLISHED, measured(1000, 1001, 1002, device=device, runner=runner)))
    assert found.ok
    assert found.notes == (
        "another system bears the name now: os_build Linux 6.1 then, Linux 7 now",
        "another build of the runner: python 2.3.0 then, python 3 now",
    )


def test_counts_of_instructions_repeat_or_do_not() -> None:
    def counted(median: float) -> Measurement:
        summary = InstructionSummary(median=median, min=int(median), max=int(median), repeat_medians=(median,) * 2)
        return msgspec.structs.replace(PUBLISHED, metric="instructions", summary=None, instructions=summary)

    assert judge(Again(counted(1e6), counted(1.001e6))).outcome == "reproduced"
    assert judge(Again(counted(1e6), counted(1.05e6))).outcome == "slower"
    assert judge(Again(counted(1e6), counted(0.9e6))).outcome == "faster"


def test_which_figures_are_held() -> None:
    old = measured(900, 901, 902, time="2026-01-01")
    new = measured(1000, 1001, 1002, time="2026-02-01")
    doubtful = measured(500, time="2026-03-01", verdict="contended")
    four = measured(300, 301, 302, threads_requested=4)
    emulated = measured(100, provenance="emulated", verdict="emulated", abi="armv8")
    entry = Entry(NET, ("latest",), (old, new, doubtful, four, emulated))
    assert figures_to_check(entry, "local") == [new, four]
    assert figures_to_check(entry, "local", threads=(4,)) == [four]
    with pytest.raises(BadInput, match="was not measured like that on local; it was as x86_64 with 1, x86_64 with 4"):
        figures_to_check(entry, "local", abis=("armv8",))
    with pytest.raises(BadInput, match="has no measurement on pixel1; it has on: local"):
        figures_to_check(entry, "pixel1")
    with pytest.raises(BadInput, match=r"can be held to \(emulated, emulated\)"):
        figures_to_check(Entry(NET, (), (emulated,)), "local")


def test_the_harness_is_who_measures() -> None:
    assert find_remeasure().__module__ == "harness.remeasure"
