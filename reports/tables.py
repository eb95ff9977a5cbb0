"""The tables of a report. Pure: records in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from reports.cells import (
    DeviceKey,
    Held,
    cell_id,
    device_of,
    is_quantized,
    repeat_count,
    split_name,
)
from reports.compare import (
    accuracy_change,
    headline,
    metric_name,
    pair_alike,
    parent_of,
    score,
    size_change,
    speed_up,
)
from reports.rows import Rows
from reports.values import Column, Missing, Size, Table, Text, Value
from reports.view import View
from zoo.artifact import Accuracy, Artifact
from zoo.measurement import Measurement

THREADS = (1, 2, 4)
ARM = ("armv7", "armv8")


def _name(held: Held, alike: int) -> Text:
    """A model's name; with the start of its digest where several files share it."""
    name = held.artifact.name
    return Text(f"{name}@{held.artifact.digest[:8]}" if alike > 1 else name)


def _counts(held: Iterable[Held]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in held:
        found[item.artifact.name] = found.get(item.artifact.name, 0) + 1
    return found


def _precision(artifact: Artifact) -> str:
    """int8 or float32, told by the name, the relation, or else the dtype of the input."""
    relation = artifact.parent.relation if artifact.parent else None
    if is_quantized(artifact.name, relation):
        return "int8"
    return artifact.inputs[0].dtype if artifact.inputs else ""


def _abis(cells: Iterable[Measurement], always: Sequence[str] = ()) -> list[str]:
    measured = {cell.abi for cell in cells} - set(always)
    return [*always, *sorted(measured)]


def _threads(cells: Iterable[Measurement]) -> list[int]:
    return sorted({*THREADS, *(cell.threads_requested for cell in cells)})


def summary(view: View, device: DeviceKey, *, most: int, measured: bool = False) -> Table:
    """What a reader chooses from: size, accuracy, latency and speed-up of the tagged models on one device.

    Args:
        view: the material.
        device: whose latencies.
        most: so many models, in the order of :func:`lineage`.
        measured: only models that were measured on it, be it in vain.
    """
    cells = view.cells_of(device)
    abis = _abis(cells)
    threads = _threads(cells)
    tagged = view.tagged
    counts = _counts(tagged)
    columns = [
        Column("Model"),
        Column("Format"),
        Column("Size (MB)", "right"),
        Column("Top-1 (95% interval)", numeric=True),
    ]
    for abi in abis:
        columns += [Column(f"{abi} T{count} (ms)", "right") for count in threads]
        one = "Speed-up, 1 thread" if len(abis) == 1 else f"Speed-up {abi}, 1 thread"
        columns.append(Column(one, "right"))

    def row(item: Held) -> tuple[Value, ...]:
        artifact = item.artifact
        precision = _precision(artifact)
        made: list[Value] = [
            _name(item, counts[artifact.name]),
            Text(f"{artifact.format} {precision}".strip()),
            Size(artifact.size_bytes),
            _score(artifact),
        ]
        for abi in abis:
            made += [view.latency_at(artifact.digest, device, abi, count) for count in threads]
            made.append(_speed_up(view, item, (device, abi, 1)))
        return tuple(made)

    listed = [item for item in tagged if not measured or view.of(item.artifact.digest, device)]
    notes: list[str] = []
    if len(view.material.held) > len(tagged):
        left = len(view.material.held) - len(tagged)
        notes.append(f"{left} {'entry' if left == 1 else 'entries'} without a tag: see latency.md.")
    notes += _cut(len(listed), most)
    if len(listed) < len(tagged):
        left = len(tagged) - len(listed)
        notes.append(f"{left:,} {'model' if left == 1 else 'models'} of the zoo not measured here.")
    rows = _of_models(view, listed[:most], counts, row)
    return Table(view.title(device), tuple(columns), rows, tuple(notes))


def _of_models(
    view: View, items: Sequence[Held], counts: Mapping[str, int], make: Callable[[Held], tuple[Value, ...]]
) -> Rows[Value]:
    """Rows about models that may be set beside their parents; ``counts`` are those of their names."""
    told = [(view.says(item.artifact), counts[item.artifact.name] > 1) for item in items]
    return Rows(items, [f"one of several {says}" if alike else says for says, alike in told], make, view.frame)


def brief(view: View, device: DeviceKey, *, most: int) -> Table:
    """The same for a terminal of 80 columns: a row for each model, ABI and thread count that was measured."""
    cells = view.cells_of(device)
    tagged = view.tagged
    counts = _counts(tagged)
    columns = [Column("Model"), Column("MB", "right"), Column("Top-1", "right"), Column("ABI"), Column("T", "right")]
    columns += [Column("Latency (ms)"), Column("Speed-up")]
    counted: dict[str, set[int]] = {}
    for cell in cells:
        counted.setdefault(cell.abi, set()).add(cell.threads_requested)
    rows = []
    for item in tagged[:most]:
        artifact = item.artifact
        found = headline(artifact)
        top1 = Text(f"{found.value:.1f}% n={found.samples}" if found else "-", published=_is_published(found))
        head: tuple[Value, ...] = (_name(item, counts[artifact.name]), Size(artifact.size_bytes), top1)
        for abi in sorted(counted):
            for count in sorted(counted[abi]):
                latency_ = view.latency_at(artifact.digest, device, abi, count)
                ratio = _speed_up(view, item, (device, abi, count))
                short = Text("") if isinstance(ratio, Missing) else ratio
                rows.append((*head, Text(abi), Text(str(count)), latency_, short))
                head = (Text(""),) * 3
    return Table(view.title(device), tuple(columns), tuple(rows), _cut(len(tagged), most))


def _cut(models: int, most: int | None) -> tuple[str, ...]:
    """What is left out where a table shows the first models only."""
    if most is None or models <= most:
        return ()
    return (f"{models - most:,} more models are not shown here: see latency.md.",)


def _is_published(found: Accuracy | None) -> bool:
    return found is not None and found.provenance == "published"


def _score(artifact: Artifact) -> Value:
    found = headline(artifact)
    if found is None:
        return Missing("not measured")
    drawn = score(found, artifact.digest)
    if metric_name(found.metric) == "top1":
        return drawn
    # Another metric under the heading Top-1 has to say what it is.
    return msgspec.structs.replace(drawn, dataset=f"{found.metric} on {drawn.dataset}")


def _speed_up(view: View, item: Held, place: tuple[DeviceKey, str, int]) -> Value:
    material, artifact = view.material, item.artifact
    if artifact.parent is None:
        return Missing("no parent")
    pair = pair_alike(
        artifact,
        material.cells(artifact.digest, *place),
        material.cells(artifact.parent.digest, *place),
    )
    return speed_up(pair)


def latency(view: View) -> Table:
    """Device | Model | Strategy | armv7 T1 T2 T4 | armv8 T1 T2 T4, and the same for any other ABI that was measured."""
    cells = list(view.best.values())
    abis, threads = _abis(cells, ARM), _threads(cells)
    columns = [Column("Device"), Column("Model"), Column("Strategy")]
    columns += [Column(f"{abi} T{count}", "right") for abi in abis for count in threads]

    def row(about: tuple[DeviceKey, str, str, int]) -> tuple[Value, ...]:
        device, digest, name, alike = about
        model, strategy = split_name(name)
        short = f"{model}@{digest[:8]}" if alike > 1 else model
        times = [view.latency_at(digest, device, abi, count) for abi in abis for count in threads]
        return (Text(view.title(device)), Text(short), Text(strategy), *times)

    abouts: list[tuple[DeviceKey, str, str, int]] = []
    says: list[str] = []
    sign_of = view.material.sign_of
    for device in view.devices:
        place = f"{device.name} {device.fingerprint}"
        measured = {cell.artifact_sha256: cell.model for cell in view.ordered(device)}
        counts: dict[str, int] = {}
        for name in measured.values():
            counts[name] = counts.get(name, 0) + 1
        for digest, name in sorted(measured.items(), key=lambda entry: (*split_name(entry[1]), entry[0])):
            abouts.append((device, digest, name, counts[name]))
            says.append(f"{place} {counts[name] > 1} {sign_of(digest)}")
    rows = Rows(abouts, says, row, view.frame)
    return Table("Latency (ms), median ± half-width of the 95% interval", tuple(columns), rows)


def every_cell(view: View) -> Table:
    """All cells, also those that no other table shows, with what they are traced by."""
    columns = (
        Column("Cell"),
        Column("Model"),
        Column("File"),
        Column("Device"),
        Column("ABI"),
        Column("Threads asked/used", "right"),
        Column("Affinity"),
        Column("Warm-up + runs × repeats", "right"),
        Column("Median (ms)", "right"),
        Column("Why"),
        Column("Time (UTC)"),
        Column("Shown"),
    )
    chosen = view.chosen

    def row(cell: Measurement) -> tuple[Value, ...]:
        used = "?" if cell.threads_actual is None else str(cell.threads_actual)
        return (
            Text(cell_id(cell), code=True),
            Text(cell.model),
            Text(cell.artifact_sha256[:8], code=True),
            Text(view.title(device_of(cell))),
            Text(cell.abi),
            Text(f"{cell.threads_requested}/{used}"),
            Text(cell.affinity or "any"),
            Text(f"{cell.warmup} + {cell.runs} × {repeat_count(cell)}"),
            view.latency(cell),
            Text(reason(cell)),
            Text(cell.time),
            Text("yes" if (cell.job_key, cell.time) in chosen else "no"),
        )

    signs = view.material.signs
    ordered: list[Measurement] = []
    for device in sorted(view.devices):
        others = [cell for cell in view.not_shown if device_of(cell) == device]
        # Shown ones are nearly in this order already.
        ordered += sorted([*view.ordered(device), *others], key=_cell_order)
    keys = [(cell.job_key, cell.time) for cell in ordered]
    # Nearly every row says its cell's digest and nothing else, which is in memory already.
    says = [signs[key] if key in chosen else f"not shown {signs[key]}" for key in keys]
    rows = Rows(ordered, says, row, view.frame)
    return Table("Every cell", columns, rows)


def _cell_order(cell: Measurement) -> tuple[str, str, str, int, str, str]:
    return (
        cell.model,
        cell.artifact_sha256,
        cell.abi,
        cell.threads_requested,
        cell.time,
        cell.job_key,
    )


def reason(cell: Measurement) -> str:
    """The figures behind a verdict in one line."""
    if cell.verdict.reason or cell.error:
        return cell.verdict.reason or cell.error or ""
    exceeded = [
        f"{e.check} {e.value:g} {e.unit}".strip() if e.value is not None else f"{e.check}: {e.says}"
        for e in cell.verdict.evidence
        if e.outcome == "exceeded"
    ]
    return "; ".join(exceeded) or ("" if cell.verdict.name in ("valid", "emulated") else "no figure recorded")


def quantization(view: View, published: Sequence[tuple[Value, ...]] = ()) -> Table:
    """32-bit against 8-bit on each device: both times of a pair that was measured alike, and their ratio.

    Args:
        view: what was measured.
        published: rows of others in the same columns; they stand below ours.
    """
    columns = (
        Column("Model"),
        Column("Device"),
        Column("CPU"),
        Column("ABI"),
        Column("Threads", "right"),
        Column("Time (32-bit)", "right"),
        Column("Time (8-bit)", "right"),
        Column("Speed-up", "right"),
    )
    socs = {
        device: next((cell.device.soc for cell in view.cells_of(device) if cell.device.soc), None)
        for device in view.devices
    }
    rows: list[tuple[Value, ...]] = []
    for item in view.order:
        child, parent = item.artifact, parent_of(view.material, item)
        if child.parent is None or not is_quantized(child.name, child.parent.relation):
            continue
        if is_quantized(child.parent.name, parent.parent.relation if parent and parent.parent else None):
            continue
        places = sorted({(device_of(c), c.abi, c.threads_requested) for c in view.material.by_artifact(child.digest)})
        for device, abi, threads in places:
            pair = pair_alike(
                child,
                view.material.cells(child.digest, device, abi, threads),
                view.material.cells(child.parent.digest, device, abi, threads),
            )
            times: tuple[Value, Value]
            if isinstance(pair, Missing):
                times = (
                    view.latency_at(child.parent.digest, device, abi, threads),
                    view.latency_at(child.digest, device, abi, threads),
                )
            else:
                times = (view.latency(pair[1]), view.latency(pair[0]))
            soc = socs[device]
            rows.append(
                (
                    Text(child.name),
                    Text(view.title(device)),
                    Text(soc) if soc else Missing("not known"),
                    Text(abi),
                    Text(str(threads)),
                    *times,
                    speed_up(pair),
                )
            )
    return Table("Quantization speed-up (times in ms)", columns, (*rows, *published))


def accuracy(view: View, *, most: int | None = None) -> Table:
    """Accuracy, size and strategy of every model of the zoo, with the differences to its parent."""
    columns = (
        Column("Model"),
        Column("Strategy"),
        Column("Metric"),
        Column("Accuracy (95% interval)", numeric=True),
        Column("Δ to parent", "right"),
        Column("Size (MB)", "right"),
        Column("Δ size", "right"),
        Column("Parameters", "right"),
        Column("MACs (M)", "right"),
        Column("Parent"),
    )
    counts = _counts(view.material.held)

    def row(item: Held) -> tuple[Value, ...]:
        artifact, parent = item.artifact, parent_of(view.material, item)
        found = headline(artifact)
        model, strategy = split_name(artifact.name)
        return (
            _name(Held(artifact), counts[artifact.name]) if counts[artifact.name] > 1 else Text(model),
            Text(strategy),
            Text(found.metric) if found else Missing("none"),
            score(found, artifact.digest) if found else Missing("not measured"),
            accuracy_change(artifact, parent),
            Size(artifact.size_bytes),
            size_change(artifact, parent),
            Missing("not recorded") if artifact.parameters is None else Text(f"{artifact.parameters:,}"),
            Missing("not recorded") if artifact.macs is None else Text(f"{artifact.macs / 1e6:.1f}"),
            Text(artifact.parent.name) if artifact.parent else Missing("none"),
        )

    rows = _of_models(view, view.order[:most], counts, row)
    return Table("Accuracy and size", columns, rows, _cut(len(view.material.held), most))
