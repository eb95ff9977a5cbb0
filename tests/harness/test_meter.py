"""Files measured for a search, on this machine: what it does is checked, not how fast the machine is."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.results import latest
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from zoo.meter import Piece, Way, figure, find_meter
from zoo.store import Store


def piece(file: Path, name: str, *, checked: bool = False) -> Piece:
    return Piece(file, sha256_file(file), name, warmup=1, runs=5, repeats=1, checked=checked)


def test_files_are_measured_once_and_lie_apart_from_the_models(tiny_tflite: Path, home: Path) -> None:
    meter = find_meter(Way("local"))
    who = meter.identify()
    assert (who.device, who.metric, who.provenance) == ("local", "latency", "hardware")
    assert who.formats == ("tflite",)
    asked = [piece(tiny_tflite, "a-layer")]
    first = meter.measure(asked)
    assert first.error is None
    assert first.known == frozenset()
    (made,) = first.measurements.values()
    number = figure(made)
    assert number is not None
    assert 0 < number[1] <= number[0] <= number[2]
    assert made.device.fingerprint == who.fingerprint
    assert made.runner.binary_sha256 == who.runner_sha256
    assert made.output_check is not None
    assert made.output_check.outcome == "not checked"
    again = meter.measure(asked)
    assert again.known == {asked[0].sha256}
    assert again.measurements[asked[0].sha256].time == made.time
    fresh = meter.measure([piece(tiny_tflite, "a-layer")], fresh=True)
    assert fresh.known == frozenset()
    assert fresh.measurements[asked[0].sha256].time > made.time
    assert latest() == ()
    assert not list(Store(home / "zoo").entries())


def test_a_whole_network_is_held_against_this_machine(tiny_tflite: Path) -> None:
    found = find_meter(Way("local")).measure([piece(tiny_tflite, "whole", checked=True)])
    (made,) = found.measurements.values()
    assert made.output_check is not None
    assert made.output_check.outcome == "agrees"


def test_devices_that_cannot_be_measured_so() -> None:
    with pytest.raises(BadInput, match="unknown device"):
        find_meter(Way("locul")).identify()
    with pytest.raises(BadInput, match="cannot be measured as armv7"):
        find_meter(Way("local", abi="armv7")).identify()
    with pytest.raises(BadInput, match="counted on devices of"):
        find_meter(Way("local", metric="instructions")).identify()
