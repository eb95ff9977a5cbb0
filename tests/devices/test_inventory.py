"""The inventory: what is shipped, what a user's file does to it, and what is said of its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.inventory import load_inventory, shipped_file
from devices.spec import AdbTransport, LocalTransport, SshTransport
from pocketzoo.errors import BadInput


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_inventory(write(tmp_path, text))
    assert caught.value.exit_code == 2
    return caught.value.as_text().replace(str(tmp_path), "")


def test_the_eight_devices_are_shipped() -> None:
    inventory = load_inventory()
    assert inventory.names == (
        "snapdragon710", "snapdragon835", "snapdragon845", "snapdragon855", "kirin970", "pixel1", "v100", "local",
    )  # fmt: skip
    assert len(inventory) == 8
    for spec in inventory:
        if "phone" in spec.tags:
            assert spec.transport == AdbTransport(kind="adb")
            assert spec.abis == ("armv8", "armv7")
            assert spec.cores == (4 if spec.name == "pixel1" else 8)
            assert "ro.board.platform" in spec.expect
    assert isinstance(inventory.get("v100").transport, SshTransport)
    assert isinstance(inventory.get("local").transport, LocalTransport)
    assert inventory.get("local").abis == ()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean kirin970") as caught:
        load_inventory().get("kirin-970")
    assert caught.value.hint == "devices list"
    assert "snapdragon710" in caught.value.detail[0]


def test_a_users_file_overrides_the_keys_it_writes(tmp_path: Path) -> None:
    path = write(tmp_path, "devices:\n  kirin970:\n    transport: {serial: ABC123}\n    cool_below_c: 30\n")
    spec = load_inventory(path).get("kirin970")
    assert spec.transport == AdbTransport(kind="adb", serial="ABC123")
    assert spec.cool_below_c == 30
    assert spec.expect == load_inventory().get("kirin970").expect
    assert load_inventory(path).sources == (shipped_file(), path)


def test_another_kind_of_transport_replaces_it(tmp_path: Path) -> None:
    path = write(tmp_path, "devices:\n  v100:\n    transport: {kind: local}\n")
    assert load_inventory(path).get("v100").transport == LocalTransport(kind="local")


def test_a_users_file_adds_devices(tmp_path: Path) -> None:
    text = """
devices:
  board:
    transport: {kind: ssh, host: 192.168.1.20, port: 2222, user: pi, key: ~/.ssh/board, known_hosts: ~/.ssh/boards}
    runner: python
    clusters: [{name: all, core: Cortex-A72, cores: 4, max_mhz: 1500}]
    expect: {model: /raspberry pi 4/, cores: 4, soc: [brcm, bcm2711]}
"""
    inventory = load_inventory(write(tmp_path, text))
    board = inventory.get("board")
    assert inventory.names[-1] == "board"
    assert board.address == "ssh pi@192.168.1.20:2222"
    assert board.expect == {"model": ("/raspberry pi 4/",), "cores": ("4",), "soc": ("brcm", "bcm2711")}


BOARD = "devices:\n  b:\n    runner: python\n    transport: {kind: local}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            BOARD + "    abbis: [armv8]\n",
            ["/mine.yaml:5: devices.b.abbis: unknown key; did you mean abis?", "allowed: transport"],
        ),
        (BOARD + "    name: b\n", ["/mine.yaml:5: devices.b.name: unknown key"]),
        (
            BOARD + "    abis: [arm64]\n",
            ["/mine.yaml:5: devices.b.abis[0]:", "'armv7', 'armv8', 'x86_64'", "found 'arm64'"],
        ),
        (
            BOARD + "    tags: [1]\n",
            ["/mine.yaml:5: devices.b.tags[0]: expected text, found the int 1; write it in quotes"],
        ),
        (BOARD + "    expect: {model: /(/}\n", ["/mine.yaml:5: devices.b.expect.model: /(/ is no regular expression"]),
        (BOARD + "    expect: {model: {a: b}}\n", ["/mine.yaml:5: devices.b.expect.model: expected a value"]),
        (BOARD + "    cool_below_c: warm\n", ["/mine.yaml:5: devices.b.cool_below_c:", "number", "found 'warm'"]),
        (
            BOARD + "    clusters:\n      - {name: a, core: b, cores: four, max_mhz: 1}\n",
            ["/mine.yaml:6: devices.b.clusters[0].cores:", "found 'four'"],
        ),
        (
            BOARD + "    clusters:\n      - {name: a, core: b, cores: 4}\n",
            ["/mine.yaml:6: devices.b.clusters[0].max_mhz: missing"],
        ),
        (
            "devices:\n  b:\n    runner: tflite\n    transport: {kind: local}\n",
            ["/mine.yaml:3: devices.b.runner:", "'benchmark_model'"],
        ),
        ("devices:\n  b:\n    transport: {kind: local}\n", ["/mine.yaml:2: devices.b.runner: missing"]),
        (
            "devices:\n  b:\n    runner: python\n    transport: {kind: bluetooth}\n",
            ["/mine.yaml:4: devices.b.transport: ", "{kind: local}, {kind: ssh, host: ...} or {kind: adb}"],
        ),
        (
            "devices:\n  b:\n    runner: python\n    transport: {host: x}\n",
            ["/mine.yaml:4: devices.b.transport: ", "kind"],
        ),
        (
            "devices:\n  b:\n    runner: python\n    transport:\n      kind: ssh\n      hots: x\n",
            ["/mine.yaml:6: devices.b.transport.hots: unknown key; did you mean host?", "transport.host: missing"],
        ),
        (
            "devices:\n  kirin970:\n    transport: {kind: ssh, host: x, serial: a}\n",
            ["/mine.yaml:3: devices.kirin970.transport.serial: unknown key", "known_hosts"],
        ),
        (
            "devices:\n  kirin970:\n    transport: {serial: 123}\n",
            ["/mine.yaml:3: devices.kirin970.transport.serial: expected text, found the int 123; write it in quotes"],
        ),
        (
            "devices:\n  kirin970:\n    transport: {server: here}\n",
            ["/mine.yaml:3: devices.kirin970.transport.server: expected host:port such as 127.0.0.1:5037"],
        ),
        (
            "devices:\n  b:\n    runner: python\n    transport: {kind: ssh, host: x, port: 70000}\n",
            ["/mine.yaml:4: devices.b.transport.port:", "65535"],
        ),
        (
            "devices:\n  b:\n    runner: python\n    transport: {kind: ssh, host: -oProxy}\n",
            ["transport.host: expected a host name"],
        ),
        ("devices:\n  B b:\n    runner: python\n", ["/mine.yaml:2: devices.B b: not a device name"]),
        ("devices:\n  b:\n    runner: python\n    runner: torch\n", ["/mine.yaml:4:5", "duplicate key"]),
        ("devices:\n  b:\n    runner: python\n   transport: {kind: local}\n", ["/mine.yaml:4:4", "indentation"]),
        ("devices:\n  b:\n\trunner: python\n", ["/mine.yaml:3:1"]),
        ("device:\n  b: {}\n", ["/mine.yaml:1: device: unknown key; did you mean devices?"]),
        ("devices:\n  b: 3\n", ["/mine.yaml:2: devices.b:", "found 3"]),
        ("devices: []\n", ["/mine.yaml:1: devices:"]),
        ("", ["/mine.yaml:1", "expected a mapping"]),
        ("- a\n", ["/mine.yaml:1", "expected a mapping"]),
    ],
)
def test_a_mistake_is_answered_with_file_line_key_and_what_is_allowed(
    tmp_path: Path, text: str, says: list[str]
) -> None:
    answer = mistakes(tmp_path, text)
    for part in says:
        assert part in answer, answer


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    answer = mistakes(tmp_path, BOARD + "    abis: [arm]\n    colour: red\n    cool_below_c: -1\n")
    assert "3 mistakes in mine.yaml" in answer


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_inventory(tmp_path / "missing.yaml")
