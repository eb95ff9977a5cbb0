"""This machine, asked without owning it."""

from __future__ import annotations

import pytest

from devices.here import this_machine
from devices.inventory import load_inventory
from devices.session import open_session


def test_it_says_what_a_session_says_also_while_somebody_measures() -> None:
    spec = load_inventory().get("local")
    with open_session(spec) as session:
        assert this_machine(spec) == session.facts()


def test_another_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="another machine"):
        this_machine(load_inventory().get("pixel1"))
