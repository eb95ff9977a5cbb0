"""The metadata of a card: what the Hub reads from the YAML at the head of a README.md. Pure.

Source: the model card specification of the Hub, as huggingface_hub 2.4 parses it. Only what was measured here on this
file goes into ``model-index``: a reader of metadata sees neither verdict nor provenance. The device is in the metric's
``config`` and ``args``, because unknown keys are dropped and results of one data set are merged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from zoo.artifact import Accuracy, Artifact
from zoo.measurement import Measurement

# The Hub's own names of licences that models carry; any other is "other", with its name beside it.
_LICENCES = frozenset((
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bsd", "bsd-2-clause",
    "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0",
    "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0",
    "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "h-research", "intel-research", "lppl-1.3c", "ms-pl",
    "apple-ascl", "mpl-2.0", "odc-by", "odbl", "openmdw-1.0", "openrail++", "osl-3.0", "postgresql",
    "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "unknown", "other",
))  # fmt: skip
_TASKS = frozenset((
    "image-classification", "object-detection", "image-segmentation", "depth-estimation",
    "keypoint-detection", "image-to-image", "zero-shot-image-classification", "image-feature-extraction",
    "mask-generation", "video-classification", "audio-classification", "automatic-speech-recognition",
    "text-classification", "token-classification",
))  # fmt: skip
_HELD = ("float32", "float16", "int8", "uint8", "int16")

LONGEST = 200  # characters of a text of others; a key of YAML may have 1,024

Yaml = str | int | float | Sequence["Yaml"] | Mapping[str, "Yaml"]


def metadata(artifact: Artifact, cells: Iterable[Measurement]) -> dict[str, Yaml]:
    """The card's metadata, in the order it is written."""
    data: dict[str, Yaml] = {}
    if artifact.licence:
        known = artifact.licence.lower()
        data["license"] = known if known in _LICENCES else "other"
        if known not in _LICENCES:
            data["license_name"] = _cut(artifact.licence)
    if artifact.format == "tflite":
        data["library_name"] = "litert"
    if artifact.task in _TASKS:
        data["pipeline_tag"] = str(artifact.task)
    data["tags"] = _tags(artifact)
    if artifact.dataset and re.fullmatch(r"[\w.-]{1,96}(?:/[\w.-]{1,96})?", artifact.dataset, re.ASCII):
        data["datasets"] = [artifact.dataset]
    results = _results(artifact, cells)
    if results:
        data["model-index"] = [{"name": artifact.name, "results": results}]
    return data


def relation_of(relation: str) -> str | None:
    """The Hub's word for what an entry is to its parent; None where it has none."""
    if "quant" in relation:
        return "quantized"
    return "finetune" if re.search("tun|distil|prun|spars|train", relation) else None


def _tags(artifact: Artifact) -> list[str]:
    quantized = any(tensor.quantization for tensor in (*artifact.inputs, *artifact.outputs))
    related = relation_of(artifact.parent.relation) if artifact.parent else None
    held = [tensor.dtype for tensor in artifact.inputs if tensor.dtype in _HELD]
    wanted = [
        "pocketzoo",
        "on-device",
        artifact.format,
        *(["quantized"] if quantized or related == "quantized" else []),
    ]
    return list(dict.fromkeys([*wanted, *held]))


def _results(artifact: Artifact, cells: Iterable[Measurement]) -> list[Yaml]:
    task: dict[str, Yaml] = {"type": _cut(artifact.task or "other")}
    by_set: dict[tuple[str, str], list[Yaml]] = {}
    for accuracy in artifact.accuracy:
        if accuracy.provenance == "measured" and accuracy.measured_on == artifact.digest and _finite(accuracy.value):
            by_set.setdefault((_cut(accuracy.dataset), _cut(accuracy.split)), []).append(_accuracy_metric(accuracy))
    results: list[Yaml] = [
        {"task": task, "dataset": {"type": dataset, "name": dataset, "split": split}, "metrics": metrics}
        for (dataset, split), metrics in by_set.items()
    ]
    latencies: list[Yaml] = [metric for cell in cells if (metric := _latency_metric(artifact, cell)) is not None]
    if latencies:
        inputs: dict[str, Yaml] = {"type": "synthetic", "name": "seeded random input"}
        results.append({"task": task, "dataset": inputs, "metrics": latencies})
    return results


def _accuracy_metric(accuracy: Accuracy) -> dict[str, Yaml]:
    kind = {"top1": "accuracy", "top5": "top-5-accuracy"}.get(accuracy.metric, _cut(accuracy.metric))
    about: dict[str, Yaml] = {"samples": accuracy.samples, "sha256": accuracy.measured_on}
    if accuracy.ci95 is not None and all(_finite(end) for end in accuracy.ci95):
        about |= {"ci95_low": _short(accuracy.ci95[0]), "ci95_high": _short(accuracy.ci95[1])}
    return {"type": kind, "value": _short(accuracy.value), "name": f"{_cut(accuracy.metric)} (%)", "args": about}


def _latency_metric(artifact: Artifact, cell: Measurement) -> dict[str, Yaml] | None:
    s = cell.summary
    if s is None or cell.provenance != "hardware" or cell.verdict.name != "valid" or cell.metric != "latency":
        return None
    if cell.artifact_sha256 != artifact.digest or not all(_finite(x) for x in (s.median_ms, *s.ci95_ms)):
        return None
    device, abi = _cut(cell.device.name), _cut(cell.abi)
    about: dict[str, Yaml] = {
        "device": device,
        "soc": _cut(cell.device.soc or "unknown"),
        "abi": abi,
        "threads": cell.threads_requested,
        "runner": _cut(f"{cell.runner.name} {cell.runner.version}"),
        "warmup": cell.warmup,
        "runs": cell.runs,
        "ci95_low": _short(s.ci95_ms[0]),
        "ci95_high": _short(s.ci95_ms[1]),
        "verdict": cell.verdict.name,
        "sha256": cell.artifact_sha256,
    }
    if cell.affinity:
        about["cpus"] = _cut(cell.affinity)
    if cell.runner.delegate:
        about["delegate"] = _cut(cell.runner.delegate)
    about |= {_cut(f"option.{name}"): _cut(value) for name, value in cell.options[:20]}
    centre = "p50" if s.centre == "median" else "mean"
    threads = f"{cell.threads_requested} thread" + ("" if cell.threads_requested == 1 else "s")
    return {
        "type": f"latency_ms_{centre}",
        "value": _short(s.median_ms),
        "name": f"Latency {centre} in ms ({device}, {abi}, {threads})",
        "config": device,
        "args": about,
    }


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _cut(text: str) -> str:
    return text[:LONGEST]


def _short(value: float) -> float:
    """Six digits: more than any of these figures has to tell."""
    return float(f"{value:.6g}")


# YAML. Written here, because what is written has to be read alike by readers of YAML 1.1 and 1.2.


def front_matter(data: Mapping[str, Yaml]) -> str:
    """The metadata between its two lines of dashes, each in a line of its own, with the newline at the end."""
    return "---\n" + "".join(_entry(key, value, 0) for key, value in data.items()) + "---\n"


def _entry(key: str, value: Yaml, depth: int) -> str:
    head = "  " * depth + yaml_scalar(key) + ":"
    if isinstance(value, (str, int, float)):
        return f"{head} {yaml_scalar(value)}\n"
    if not value:
        return f"{head} {'{}' if isinstance(value, Mapping) else '[]'}\n"
    if isinstance(value, Mapping):
        return head + "\n" + "".join(_entry(name, inner, depth + 1) for name, inner in value.items())
    return head + "\n" + "".join(_item(inner, depth) for inner in value)


def _item(value: Yaml, depth: int) -> str:
    head = "  " * depth + "- "
    if isinstance(value, Mapping):
        lines = "".join(_entry(name, inner, depth + 1) for name, inner in value.items())
        return head + lines[len(head) :]
    assert isinstance(value, (str, int, float))  # noqa: S101  no list of lists is made
    return f"{head}{yaml_scalar(value)}\n"


def yaml_scalar(value: str | float) -> str:
    """A scalar that every reader of YAML reads back as this value and type; text in one line."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError(f"no scalar of a card: {value!r}")
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", value)
        if plain and value.lower() not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null"):
            return value
        return '"' + "".join(_in_quotes(char) for char in value) + '"'
    text = repr(value)
    # YAML 1.1 takes 1e-05 for a text: a float needs its point.
    return re.sub(r"^(-?\d+)e", r"\1.0e", text)


def _in_quotes(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable() and not 0xD800 <= ord(char) <= 0xDFFF:
        return char
    if 0xD800 <= ord(char) <= 0xDFFF:
        return "\\uFFFD"  # half of a character; no encoding can hold it
    return json.dumps(char)[1:-1] if char in "\n\t\r" else f"\\U{ord(char):08X}"
