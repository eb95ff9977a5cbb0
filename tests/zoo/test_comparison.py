"""Comparing: the rank test against published values, what is unlike, what a gate takes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pocketzoo.errors import BadInput
from tests.records import measurement_for, repeat_of
from zoo.artifact import Artifact, FileRecord
from zoo.comparison import breaks, compared, gate_refusals, pairs, unlike
from zoo.measurement import Measurement
from zoo.ranks import mann_whitney, midranks, smallest_p
from zoo.stats import summarise

ARTIFACT = Artifact(
    name="tiny-model", format="tflite", files=(FileRecord(name="tiny-model.tflite", sha256="c" * 64, size=1),)
)


def measured(*medians_us: int, **fields: Any) -> Measurement:
    repeats = tuple(repeat_of([median * 1000 + step for step in range(-20, 21)]) for median in medians_us)
    base = measurement_for(ARTIFACT, key=fields.pop("key", "1" * 64))
    return msgspec.structs.replace(base, repeats=repeats, summary=summarise(repeats), **fields)


def test_exact_p_of_mann_and_whitney() -> None:
    """Their table of 1947 for 4 and 4: U = 0 has a one-sided probability of 1/70, U = 1 of 2/70, U = 2 of 4/70."""
    assert mann_whitney([1, 2, 3, 4], [5, 6, 7, 8]) == pytest.approx(2 / 70)
    assert mann_whitney([1, 2, 3, 5], [4, 6, 7, 8]) == pytest.approx(4 / 70)
    assert mann_whitney([1, 2, 3, 6], [4, 5, 7, 8]) == pytest.approx(8 / 70)
    assert mann_whitney([1, 2, 3], [1, 2, 3]) == 1.0
    assert smallest_p(3, 3) == pytest.approx(0.1)
    assert smallest_p(4, 4) < 0.05 < smallest_p(3, 4) * 1.76


def test_ties_share_their_ranks() -> None:
    assert midranks([3.0, 1.0, 3.0, 2.0]) == [3.5, 1.0, 3.5, 2.0]


def test_many_values_are_near_the_exact_p() -> None:
    a, b = [float(n) for n in range(0, 20, 2)], [float(n) + 6.5 for n in range(0, 20, 2)]
    near = mann_whitney(a, b)
    from itertools import combinations

    ranks = midranks([*a, *b])
    found = abs(sum(ranks[:10]) - 105)
    exact = sum(abs(sum(c) - 105) >= found for c in combinations(ranks, 10)) / 184_756
    assert near == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("abi", {"abi": "armv7"}),
        ("threads", {"threads_requested": 2}),
        ("affinity", {"affinity": "0"}),
        ("options", {"options": (("batch", "8"),)}),
        ("protocol", {"runs": 50}),
        ("provenance", {"provenance": "emulated"}),
    ],
)
def test_unlike_runs_are_refused_by_the_field(field: str, change: dict[str, Any]) -> None:
    one, other = measured(1000), measured(1000, key="2" * 64, **change)
    assert set(unlike(one, other)) == {field}
    with pytest.raises(BadInput, match=field) as caught:
        pairs([one], [other])
    assert field in str(caught.value.hint)
    assert pairs([one], [other], allow=(field,)) == [(one, other)]


def test_another_device_or_runner_is_unlike() -> None:
    one = measured(1000)
    device = msgspec.structs.replace(one.device, fingerprint="9" * 64)
    runner = msgspec.structs.replace(one.runner, binary_sha256="9" * 64)
    assert set(unlike(one, msgspec.structs.replace(one, device=device, runner=runner))) == {"device", "runner"}


def test_the_same_measurement_is_not_compared_with_itself() -> None:
    with pytest.raises(BadInput, match="same measurement"):
        pairs([measured(1000)], [measured(1000)])


def test_a_clear_slow_down_is_seen_and_breaks_the_gate() -> None:
    first = measured(1000, 1002, 998, 1001, 999)
    second = measured(1100, 1103, 1098, 1101, 1097, key="2" * 64)
    found = compared(first, second)
    assert found.outcome == "slower"
    assert found.ratio == pytest.approx(1.1, rel=0.01)
    assert found.p == pytest.approx(2 / 252)
    assert breaks(found, 0.05)
    assert not breaks(found, 0.15)
    assert compared(second, first).outcome == "faster"
    assert not breaks(compared(second, first), 0.05)


def test_the_same_speed_holds_the_gate() -> None:
    first = measured(1000, 1002, 998, 1001, 999)
    found = compared(first, measured(1001, 999, 1000, 1003, 997, key="2" * 64))
    assert found.outcome == "no difference"
    assert not breaks(found, 0.05)


def test_three_repeats_cannot_tell_but_an_interval_beyond_the_gate_breaks_it() -> None:
    first = measured(1000, 1002, 998)
    found = compared(first, measured(1030, 1033, 1028, key="2" * 64))
    assert (found.outcome, found.p) == ("cannot tell", None)
    assert "--repeats 5 or more" in found.says
    assert not breaks(found, 0.05)
    assert breaks(compared(first, measured(2000, 2010, 1990, key="2" * 64)), 0.05)


def test_what_cannot_carry_a_gate() -> None:
    good = measured(1000, 1001, 1002)
    emulated = measured(1000, key="2" * 64, provenance="emulated")
    doubtful = msgspec.structs.replace(
        good, job_key="3" * 64, verdict=measurement_for(ARTIFACT, verdict="contended").verdict
    )
    assert not gate_refusals(compared(good, good))
    assert "says nothing of hardware" in gate_refusals(compared(good, emulated), allow=("verdict",))[0]
    assert "contended" in gate_refusals(compared(good, doubtful))[0]
    assert not gate_refusals(compared(good, doubtful), allow=("verdict",))


def test_tools_without_samples_are_compared_by_their_medians() -> None:
    bare = msgspec.structs.replace(
        measured(1000, 1002, 998, 1001), repeats=tuple(repeat_of([]) for _ in range(4)), job_key="2" * 64
    )
    assert compared(measured(1000, 1002, 998, 1001), bare).ratio == pytest.approx(1.0, rel=0.01)
