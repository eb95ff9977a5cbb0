"""Records as the zoo and the harness would hold them, made up and the same every time."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import msgspec

from devices.facts import ClusterFacts, DeviceFacts
from reports.cells import Held, Material, merge
from reports.trained import Trained
from zoo.artifact import Accuracy, Artifact, FileRecord, Parent, TensorSpec
from zoo.measurement import Evidence, Measurement, Repeat, RunnerRecord, Summary, Verdict


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


LOCAL = DeviceFacts(
    name="local",
    fingerprint=sha("local"),
    soc="Example EPYC",
    os_build="Debian 12",
    kernel="6.1.0",
    abis=("x86_64",),
    cores=2,
    clusters=(ClusterFacts(cpus=(0, 1), max_mhz=2600.0),),
    ram_bytes=8 << 30,
)
PHONE = DeviceFacts(
    name="kirin970",
    fingerprint=sha("kirin970"),
    soc="Kirin 970",
    model="Huawei P20",
    abis=("armv7", "armv8"),
    cores=8,
)
LAB = DeviceFacts(name="lab-phone-armv8", fingerprint=sha("lab"), soc=None, abis=("armv8",), cores=2)
RUNNER = RunnerRecord(
    name="litert-python", version="2.3.0", binary_sha256=sha("runner"), runtime="LiteRT 2.3.0", delegate="XNNPACK"
)
TENSORRT = RunnerRecord(name="trtexec", version="10.3", binary_sha256=sha("trtexec"), runtime="TensorRT 10.3")


def artifact(name: str, size: int, **more: Any) -> Artifact:
    digest = sha(f"{name} {size}")
    top1 = more.pop("top1", None)
    parent = more.pop("parent", None)
    accuracy = ()
    if top1 is not None:
        value, samples = top1
        accuracy = (
            Accuracy(metric="top1", value=value, dataset="imagenet", split="val", samples=samples, measured_on=digest),
        )
    return Artifact(
        name=name,
        format="tflite",
        files=(FileRecord(name="model.tflite", sha256=digest, size=size),),
        inputs=(TensorSpec(name="input", shape=(1, 224, 224, 3), dtype="float32"),),
        accuracy=more.pop("accuracy", accuracy),
        parent=Parent(digest=parent.digest, name=parent.name, relation=more.pop("relation", "quantized"))
        if parent
        else None,
        **more,
    )


def measurement(of: Artifact, median_ms: float, **more: Any) -> Measurement:
    """A cell with three repeats of twenty samples around a median, or as many as ``repeats`` says."""
    count = more.pop("repeats", 3)
    device = more.pop("device", LOCAL)
    abi = more.pop("abi", device.abis[0])
    threads = more.pop("threads", 1)
    time = more.pop("time", "2026-11-01T10:00:00Z")
    verdict = more.pop("verdict", "valid")
    key = more.pop("key", None) or sha(f"{of.digest} {device.name} {abi} {threads}")
    repeats = []
    if verdict != "failed":
        dice = random.Random(f"{key}{time}")
        repeats = [
            Repeat(
                samples_ns=tuple(
                    int(1e6 * median_ms * (1 + 0.004 * shift + abs(dice.gauss(0, 0.01)))) for _ in range(20)
                ),
                threads_actual=threads,
            )
            for shift in range(count)
        ]
    summary = None
    if repeats:
        ordered = sorted(ns / 1e6 for repeat in repeats for ns in repeat.samples_ns)
        half = len(ordered) // 2
        middle = (ordered[half - 1] + ordered[half]) / 2
        summary = Summary(
            median_ms=middle,
            mean_ms=sum(ordered) / len(ordered),
            p90_ms=ordered[len(ordered) * 9 // 10 - 1],
            p99_ms=ordered[-1],
            min_ms=ordered[0],
            max_ms=ordered[-1],
            std_ms=0.01 * median_ms,
            mad_ms=0.005 * median_ms,
            ci95_ms=(middle * 0.994, middle * 1.007),
            repeat_medians_ms=tuple(sorted(r.samples_ns)[10] / 1e6 for r in repeats),
        )
    evidence = ()
    if verdict == "contended":
        evidence = (Evidence(check="foreign CPU share", outcome="exceeded", value=0.31, limit=0.1),)
    return Measurement(
        job_key=key,
        artifact_sha256=of.digest,
        model=of.name,
        device=device,
        runner=more.pop("runner", RUNNER),
        abi=abi,
        threads_requested=threads,
        threads_actual=None if verdict == "failed" else threads,
        warmup=more.pop("warmup", 10),
        runs=more.pop("runs", 20),
        repeats=tuple(repeats),
        summary=summary,
        verdict=Verdict(name=verdict, evidence=evidence),
        provenance=more.pop("provenance", "hardware"),
        time=time,
        **more,
    )


FLOAT = artifact("mobilenetv2", 13_983_240, top1=(90.0, 20), parameters=3_504_872, macs=300_774_272)
INT8 = artifact("mobilenetv2-quant", 4_013_528, top1=(85.0, 20), parent=FLOAT, parameters=3_504_872)
PRUNED = artifact("mobilenetv2-prune50", 7_100_000, top1=(80.0, 20), parent=FLOAT, relation="pruned")
AMC = artifact("amc-mobilenetv1-0.5flops-fashion", 9_000_000, top1=(92.0, 10_000), macs=7_900_000)
RESNET = artifact("resnet56-cifar10", 3_400_000, top1=(93.5, 10_000), macs=127_000_000)
GROUPED = artifact(
    "resnet56-cifar10-prune52", 1_700_000, top1=(93.0, 10_000), macs=60_000_000, parent=RESNET, relation="pruned"
)
SERVER = DeviceFacts(name="v100", fingerprint=sha("v100"), soc="Tesla V100", abis=("x86_64",), cores=8)
OTHER = artifact("fastscnn", 5_700_000, accuracy=())


def material() -> Material:
    """Every kind of cell: valid, each mark, a phone, a lab device, failed, superseded, not measured."""
    cells = [
        measurement(FLOAT, 21.7),
        measurement(FLOAT, 11.4, threads=2),
        measurement(FLOAT, 11.9, threads=4, verdict="contended"),
        measurement(INT8, 8.61),
        measurement(INT8, 4.83, threads=2),
        measurement(INT8, 5.2, threads=4, verdict="clamped"),
        measurement(INT8, 8.4, time="2026-10-01T10:00:00Z", verdict="throttled"),
        measurement(PRUNED, 13.1, verdict="unstable"),
        measurement(OTHER, 1, verdict="failed", error="Didn't find op for builtin opcode `X|Y`\nsecond line"),
        measurement(FLOAT, 68.96, device=PHONE, abi="armv8"),
        measurement(FLOAT, 70.42, device=PHONE, abi="armv7"),
        measurement(INT8, 49.38, device=PHONE, abi="armv8"),
        measurement(INT8, 53.1, device=PHONE, abi="armv7", runs=200),
        measurement(FLOAT, 412.0, device=LAB, verdict="emulated", provenance="emulated"),
        measurement(AMC, 2.4),
        measurement(RESNET, 1.25, device=SERVER, runner=TENSORRT, options=(("batch", "8"),)),
        measurement(INT8, 301.0, device=LAB, verdict="emulated", provenance="emulated"),
    ]
    held = [Held(a, ("latest",)) for a in (FLOAT, INT8, PRUNED, OTHER, AMC, RESNET, GROUPED)]
    trained = (
        Trained("resnet56-cifar10-quant-ema", "top1", (91.2, 91.4), ("0", "1"), "cifar10", "results-quant.json"),
    )
    return merge(held, cells, trained=trained)


def earlier() -> Material:
    """An earlier state: one cell was faster, one slower, a model had another file, another was there."""
    old = artifact("mobilenetv2-quant", 3_600_000, top1=(99.0, 2000), parent=FLOAT)
    gone = artifact("resnet18", 46_000_000)
    cells = [
        measurement(FLOAT, 18.0, time="2026-09-01T10:00:00Z", repeats=6),
        measurement(FLOAT, 13.0, threads=2, time="2026-09-01T10:00:00Z"),
        measurement(PRUNED, 13.1, verdict="unstable"),
        measurement(old, 8.6, time="2026-09-01T10:00:00Z"),
        measurement(FLOAT, 300.0, device=LAB, verdict="emulated", provenance="emulated", time="2026-09-01T10:00:00Z"),
        measurement(FLOAT, 60.0, device=PHONE, abi="armv8", runs=99, time="2026-09-01T10:00:00Z"),
    ]
    return merge([Held(a, ("latest",)) for a in (FLOAT, old, gone, PRUNED)], cells)


HOSTILE = "a|b `c` <script>alert(1)</script>\nline two *x* [l](http://e.example) \u202e\x1b[31m $x$ @me"


def hostile() -> Material:
    """A device whose facts try to break out of a table."""
    device = msgspec.structs.replace(LOCAL, name=HOSTILE, soc=HOSTILE, os_build=HOSTILE)
    bad = msgspec.structs.replace(
        FLOAT,
        accuracy=(
            Accuracy(metric=HOSTILE, value=50.0, dataset=HOSTILE, split="v", samples=10, measured_on=FLOAT.digest),
        ),
    )
    return merge([Held(bad, ("latest",))], [measurement(FLOAT, 10.0, device=device, affinity=HOSTILE)])
