"""The torch runner: the real agent on this machine's CPU; what a GPU needs by argument and answer alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices.session import open_session
from devices.spec import DeviceSpec
from harness.job import Cell, Protocol
from harness.runner import RunnerFailed
from harness.runners import python, torch
from harness.runners.prepared import checked_options
from harness.runners.torch import AGENT, SETTINGS, Description, TorchRunner
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from tests.harness.cells import answer_of, cell_of, completed, printed
from zoo.programs import format_of

GPU = Description(
    runtime="torch",
    runtime_version="2.13.0+cu126",
    library_sha256="b" * 64,
    abi="x86_64",
    abi_proof="ELF64 e_machine 62",
    python="3.11.2",
    cuda="12.6",
    gpu="Tesla V100-SXM2-16GB",
)
PLACED = {sha256_file(AGENT): "/d/torch.py", sha256_file(python.AGENT): "/d/process.py"}
RAN = {
    "device": "cpu", "precision": "fp32", "layout": "contiguous", "batch": "1", "shape": "3x224x224", "graph": "off",
    "timer": "host",
}  # fmt: skip
SPEC = DeviceSpec.model_validate({"name": "host", "transport": {"kind": "local"}, "runner": "torch"})


def cell(**fields: Any) -> Cell:
    return cell_of(**{"runner": "torch", "format": "torchscript", **fields})


def answer(**fields: Any) -> str:
    return printed(answer_of(**{"runtime": "torch", "gpu": None, "ran": RAN, **fields}))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same small network as TorchScript, exported, and as weights alone."""
    folder = tmp_path_factory.mktemp("programs")
    made = subprocess.run([sys.executable, "-W", "ignore", "-c", MAKE, str(folder)], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    return {path.stem: path for path in folder.iterdir()}


MAKE = """
import sys, torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
folder = sys.argv[1]
torch.jit.trace(net, torch.randn(1, 3, 32, 32)).save(folder + "/scripted.pt")
torch.export.save(torch.export.export(net, (torch.randn(1, 3, 32, 32),)), folder + "/exported.pt2")
torch.save(net.state_dict(), folder + "/weights.pt")
"""


def test_settings_become_arguments_and_those_of_a_gpu_stay_there() -> None:
    runner = TorchRunner("python3", GPU, "cuda")
    options = (("batch", "8"), ("graph", "on"), ("layout", "channels_last"), ("precision", "fp16"))
    argv = runner.argv(cell(abi="cuda", options=options), "/m", PLACED)
    assert argv[:8] == [
        "python3",
        "/d/torch.py",
        "--agent",
        "/d/process.py",
        "--model",
        "/m",
        "--format",
        "torchscript",
    ]
    given = dict(zip(argv[8::2], argv[9::2], strict=True))
    assert given["--device"] == "cuda"
    assert given["--timer"] == "events"
    assert (given["--precision"], given["--graph"], given["--batch"]) == ("fp16", "on", "8")
    for option in (("graph", "on"), ("timer", "events"), ("precision", "tf32")):
        with pytest.raises(RunnerFailed, match="is for a GPU"):
            TorchRunner("python3", GPU, "x86_64").argv(cell(options=(option,)), "/m", PLACED)
    assert runner.record.runtime == "torch 2.13.0+cu126, CUDA 12.6 on Tesla V100-SXM2-16GB"


def test_settings_that_hold_anyway_are_left_out_of_the_key() -> None:
    assert checked_options("torch", SETTINGS, (("batch", "1"), ("precision", "fp32"))) == ()
    with pytest.raises(BadInput, match="precision does not take 'fp8'"):
        checked_options("torch", SETTINGS, (("precision", "fp8"),))


@pytest.mark.parametrize(
    ("asked", "fields", "says"),
    [
        ({}, {"ran": {**RAN, "batch": "2"}}, "ran with batch=2"),
        ({}, {"gpu": "Tesla V100-SXM2-16GB"}, "it ran on Tesla V100"),
        ({"abi": "cuda"}, {}, "it ran as x86_64"),
        ({"abi": "cuda"}, {"abi": "cuda", "ran": {**RAN, "device": "cuda", "timer": "events"}}, "it ran on no GPU"),
        ({}, {"error": "RuntimeError: CUDA was asked for, and torch finds no device"}, "CUDA was asked for"),
        ({}, {"ran": "fast"}, "not understood"),
    ],
)
def test_another_device_or_setting_than_asked_for_is_refused(
    asked: dict[str, Any], fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(RunnerFailed, match=says):
        TorchRunner("python3", GPU, "x86_64").parse(cell(**asked), completed(answer(**fields)))


def test_an_answer_of_a_gpu_is_taken_with_its_proof() -> None:
    ran = {**RAN, "device": "cuda", "timer": "events"}
    says = answer(abi="cuda", abi_proof="the output lies on Tesla V100", gpu=GPU.gpu, ran=ran)
    repeat = TorchRunner("python3", GPU, "cuda").parse(cell(abi="cuda"), completed(says))
    assert repeat.abi_proof == "the output lies on Tesla V100"


def test_the_real_agent_measures_both_kinds_of_program(programs: dict[str, Path]) -> None:
    with open_session(SPEC) as session:
        prepared = torch.prepare(session, session.facts())
        abi = next(abi for abi in prepared.runners if abi != "cuda")
        runner = prepared.runners[abi]
        there = session.push({sha256_file(path): path for path in programs.values()})
        digests = {}
        for name, options in (
            ("scripted", ()),
            ("exported", ()),
            ("scripted", (("batch", "3"), ("layout", "channels_last"), ("precision", "bf16"))),
        ):
            asked = cell(
                abi=abi,
                format=format_of(programs[name]),
                threads=2,
                cpus=(0,),
                options=tuple(sorted((*options, ("shape", "3x32x32")))),
                protocol=Protocol(warmup=2, runs=5),
            )
            model = there[sha256_file(programs[name])]
            done = session.run(runner.argv(asked, model, prepared.placed), deadline_s=120)
            repeat = runner.parse(asked, done)
            assert len(repeat.samples_ns) == 5
            assert (repeat.cpus_allowed, repeat.threads_actual) == ((0,), 1)
            digests[name, options] = repeat.output_sha256
        assert digests["scripted", ()] == digests["exported", ()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--precision", "int8"], "is not quantized"),
        (["--shape", "4x32x32"], "Error"),
    ],
)
def test_what_the_program_cannot_do_is_told(programs: dict[str, Path], arguments: list[str], says: str) -> None:
    argv = [sys.executable, str(AGENT), "--agent", str(python.AGENT), "--model", str(programs["scripted"]), *arguments]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 1
    assert says in json.loads(done.stdout.splitlines()[-1])["error"]


def test_cuda_that_is_not_there_is_refused_by_the_agent(programs: dict[str, Path]) -> None:
    argv = [sys.executable, str(AGENT), "--agent", str(python.AGENT), "--model", str(programs["scripted"])]
    hidden = subprocess.run(
        [*argv, "--device", "cuda"],
        capture_output=True,
        check=False,
        env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin"},
    )
    with pytest.raises(RunnerFailed, match=r"CUDA was asked for, and torch .* finds no device"):
        TorchRunner("python3", GPU, "cuda").parse(cell(abi="cuda"), completed(hidden.stdout, exit_code=1))


def test_weights_are_no_program(programs: dict[str, Path], tmp_path: Path) -> None:
    assert [format_of(programs[name]) for name in ("scripted", "exported")] == ["torchscript", "pt2"]
    with pytest.raises(BadInput, match="weights and no program"):
        format_of(programs["weights"])
    renamed = tmp_path / "exported.pt"
    renamed.write_bytes(programs["exported"].read_bytes())
    with pytest.raises(BadInput, match="this is a pt2 program"):
        format_of(renamed)
    for name, content in (("a.pt", b"no zip"), ("a.onnx", b"PK"), ("a.engine", b""), ("a.h5", b"x")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadInput):
            format_of(path)


def test_the_digest_follows_torchs_build() -> None:
    other = msgspec.structs.replace(GPU, library_sha256="c" * 64)
    records = {TorchRunner("python3", found, "cuda").record.binary_sha256 for found in (GPU, other)}
    assert len(records) == 2
