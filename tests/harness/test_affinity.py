"""big, little, masks and lists, on devices as they are probed."""

from __future__ import annotations

import pytest

from devices.facts import ClusterFacts, DeviceFacts
from harness.affinity import check_affinity, resolve
from pocketzoo.errors import BadInput


def device(*clusters: tuple[int, float | None]) -> DeviceFacts:
    found, first = [], 0
    for cores, mhz in clusters:
        found.append(ClusterFacts(cpus=tuple(range(first, first + cores)), max_mhz=mhz))
        first += cores
    return DeviceFacts(name="phone", fingerprint="f" * 64, cores=first, clusters=tuple(found))


SD855 = device((4, 1785.6), (3, 2419.2), (1, 2841.6))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("big", (4, 5, 6, 7)),
        ("little", (0, 1, 2, 3)),
        ("all", tuple(range(8))),
        ("f0", (4, 5, 6, 7)),
        ("0xF0", (4, 5, 6, 7)),
        ("0f", (0, 1, 2, 3)),
        ("0x10", (4,)),
        ("4-7", (4, 5, 6, 7)),
        ("7,0", (0, 7)),
        ("0", (0,)),
    ],
)
def test_what_an_affinity_means_on_a_snapdragon_855(text: str, cpus: tuple[int, ...]) -> None:
    assert resolve(check_affinity(text), SD855) == cpus


def test_without_one_the_kernel_places() -> None:
    assert resolve(None, SD855) is None


@pytest.mark.parametrize("text", ["", "large", "0x", "g0", "3-1", "-1", "1,,2", "0x0", "f" * 400])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a"):
        check_affinity(text)


@pytest.mark.parametrize(
    ("text", "facts", "says"),
    [
        ("big", device((4, 1200.0)), "all alike"),
        ("little", device((4, None)), "does not say which"),
        ("big", device(), "does not say which"),
        ("f00", SD855, "CPUs 0 to 7"),
        ("8", SD855, "CPUs 0 to 7"),
        ("all", DeviceFacts(name="phone", fingerprint="f" * 64), "not known"),
    ],
)
def test_what_a_device_cannot_do_is_a_reason(text: str, facts: DeviceFacts, says: str) -> None:
    found = resolve(text, facts)
    assert isinstance(found, str)
    assert says in found
