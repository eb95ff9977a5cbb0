"""The transport contract on a virtual phone behind both generations of the real adb server."""

from __future__ import annotations

import pytest

from devices.transport import Transport
from tests.contracts.adb_contract import AdbContract
from tests.lab.phone.world import Worlds


class PhoneContract(AdbContract):
    program: str

    @pytest.fixture
    def transport(self, worlds: Worlds) -> Transport:
        return worlds(self.program).transport()

    @pytest.fixture
    def there(self, transport: Transport) -> str:
        folder = "/data/local/tmp/there"
        assert self.run(transport, "sh", "-c", 'rm -rf "$1" && mkdir "$1"', "sh", folder).ok
        return folder


class TestBundled(PhoneContract):
    program = "bundled"


class TestSystem(PhoneContract):
    program = "system"
