"""The transport contract over adb: where a phone does otherwise than other devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.errors import TransferRefused
from devices.transport import Transport
from tests.contracts.transport_contract import LONG_S, TransportContract


class AdbContract(TransportContract):
    """Derive as from :class:`TransportContract`."""

    def test_push_into_nowhere_says_why(self, transport: Transport, there: str, tmp_path: Path) -> None:
        # A phone makes the folders that are missing; where it may not, it says so.
        (tmp_path / "f").write_bytes(b"x")
        transport.push(tmp_path / "f", f"{there}/no/such/folder/f", deadline_s=LONG_S)
        assert self.run(transport, "cat", f"{there}/no/such/folder/f").stdout == b"x"
        with pytest.raises(TransferRefused, match="Read-only file system"):
            transport.push(tmp_path / "f", "/no/such/folder/f", deadline_s=LONG_S)
