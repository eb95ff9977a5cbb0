"""Raw samples as bytes: the same back, or an error."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.results.samples import pack, unpack

TIMES = st.lists(st.integers(min_value=1, max_value=10**12), max_size=300)


@settings(deadline=None)
@given(TIMES | st.lists(st.integers()))
def test_every_sample_comes_back(samples: list[int]) -> None:
    assert unpack(pack(samples)) == tuple(samples)


@settings(deadline=None)
@given(TIMES, st.integers(min_value=1, max_value=10**6))
def test_a_coarse_clock_costs_nothing(samples: list[int], tick: int) -> None:
    coarse = [sample * tick for sample in samples]
    assert unpack(pack(coarse)) == tuple(coarse)
    assert len(pack(coarse)) <= len(pack(samples)) + 8


def test_half_of_message_pack_for_what_a_phone_gives() -> None:
    dice = random.Random(1)
    samples = [int(3_110_000 + abs(dice.gauss(0, 20_000))) for _ in range(200)]
    assert len(pack(samples)) < len(msgspec.msgpack.encode(samples)) / 2


@settings(deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=10**9), min_size=1, max_size=50), st.data())
def test_what_is_cut_off_is_refused(samples: list[int], data: st.DataObject) -> None:
    packed = pack(samples)
    with pytest.raises(ValueError, match="samples"):
        unpack(packed[: data.draw(st.integers(min_value=0, max_value=len(packed) - 1))])


@settings(deadline=None)
@given(TIMES, st.data())
def test_a_flipped_bit_is_noticed_or_changes_nothing(samples: list[int], data: st.DataObject) -> None:
    packed = bytearray(pack(samples))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert unpack(bytes(packed)) == tuple(samples)
    except ValueError:
        return


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_from_anywhere_are_samples_or_a_value_error(data: bytes) -> None:
    for prefix in (b"", b"\x01"):
        try:
            unpack(prefix + data)
        except ValueError:
            continue


def test_a_sample_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="too large to be a time"):
        pack([0, 1, 1 << 3000])
