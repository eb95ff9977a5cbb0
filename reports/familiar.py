"""The tables as the readers of the five documents know them: their rows and ours in the same columns. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

from harness.published import PublishedRow, PublishedTable
from reports import figures
from reports.beside import as_value
from reports.beside import notes as notes_of
from reports.cells import DeviceKey, Held, device_of, split_name
from reports.compare import accuracy_change, headline, metric_name, parent_of, score
from reports.figures import Published
from reports.rows import Rows, Standing
from reports.tables import ARM, THREADS
from reports.values import Column, Line, Missing, Ratio, Size, Table, Text, Value
from reports.view import View, why_empty_by_abis
from zoo.artifact import Artifact
from zoo.timings import images_per_s

HERE = "here"
_Ours = tuple[DeviceKey, str, tuple[str, ...]]  # device, digest, the words that a row begins with
_Row = tuple[tuple[str, ...], Standing | _Ours, str]  # sort key, what the row is about, what it is made from


def side_by_side(view: View) -> list[Table]:
    """Device | Model | Strategy | armv7 T1 T2 T4 | armv8 T1 T2 T4: ours and the documents', device by device.

    Devices with other ABIs, which no document has, have tables of the same form of their own.
    """
    families: dict[tuple[str, ...], list[DeviceKey]] = {ARM: []}
    for device in view.devices:
        here = tuple(sorted({cell.abi for cell in view.cells_of(device)}))
        families.setdefault(ARM if set(here) & set(ARM) else here, []).append(device)
    return [_latencies(view, abis, devices) for abis, devices in families.items()]


def _latencies(view: View, abis: tuple[str, ...], devices: list[DeviceKey]) -> Table:
    """The table of some devices; the documents' rows stand in that of ARM."""
    cells = [cell for device in devices for cell in view.cells_of(device)]
    abis = (*abis, *sorted({cell.abi for cell in cells} - set(abis)))
    threads = sorted({*THREADS, *(cell.threads_requested for cell in cells)})
    columns = [Column("Device"), Column("Model"), Column("Strategy"), Column("Whose")]
    columns += [Column(f"{abi} T{count}", "right") for abi in abis for count in threads]
    rows: list[_Row] = []
    for (place, model, strategy, document), group in _by_place(
        figures.latencies() if set(abis) & set(ARM) else ()
    ).items():
        told = {(one.abi, one.threads): one for one in group}
        if not any(abi for abi, _ in told):
            continue  # neither ABI nor threads are told: PocketFlow's have a table of their own
        values = [
            Text(told[abi, count].printed, published=True)
            if (abi, count) in told
            else Missing(why_empty_by_abis({one.abi for one in group if one.abi}, abi, "not published"))
            for abi in abis
            for count in threads
        ]
        row = (Text(place), Text(model), Text(strategy), Text(document), *values)
        printed = Standing(row)
        rows.append(((place, model, strategy, "1", document), printed, printed.says))

    def ours(about: _Ours) -> tuple[Value, ...]:
        device, digest, head = about
        return (*map(Text, head), *(view.latency_at(digest, device, abi, count) for abi in abis for count in threads))

    sign_of = view.material.sign_of
    for device in devices:
        measured = {cell.artifact_sha256: cell.model for cell in view.ordered(device)}
        names = Counter(measured.values())
        title = view.title(device)
        for digest, name in measured.items():
            model, strategy = split_name(name)
            short = f"{model}@{digest[:8]}" if names[name] > 1 else model
            head = (title, short, strategy, HERE)
            says = f"{title}\x1f{short}\x1f{strategy} {sign_of(digest)}"
            rows.append(((device.name, model, strategy, "0", title, digest), (device, digest, head), says))
    order = {device.name: number for number, device in enumerate(view.devices)}
    # Devices that were measured here first, in the order of the other pages.
    rows.sort(key=lambda item: item[0])
    rows.sort(key=lambda item: order.get(item[0][0], len(order)))
    drawn = Rows([about for _, about, _ in rows], [says for _, _, says in rows], ours, view.frame)
    return Table(f"Latency (ms): {', '.join(abis)}", tuple(columns), drawn)


def _by_place(latencies: Iterable[Published]) -> dict[tuple[str, str, str, str], list[Published]]:
    found: dict[tuple[str, str, str, str], list[Published]] = {}
    for one in latencies:
        if one.device != "v100":
            model = f"{one.model} ({one.dataset})" if one.dataset else one.model
            found.setdefault((one.device, model, one.strategy, one.whose), []).append(one)
    return found


def chosen(
    published: Sequence[Published], *, device: str | None = None, min_top1: float | None = None
) -> list[Published]:
    """Published latencies by device, the shortest first.

    Args:
        published: what there is.
        device: only this one.
        min_top1: only models of at least so much top-1 accuracy (%); those that state none are left out.
    """
    found = [
        one
        for one in published
        if (device is None or one.device == device) and (min_top1 is None or (one.top1 or 0.0) >= min_top1)
    ]
    return sorted(found, key=lambda one: (one.device, one.ms))


def fastest(published: Sequence[Published]) -> Table:
    """Published latencies with the accuracy that the same document gives the model, in the order given."""
    columns = (
        Column("Device"), Column("Latency (ms)", "right"), Column("Model"), Column("Strategy"), Column("Accuracy"),
        Column("ABI"), Column("Threads", "right"), Column("Size"), Column("Whose"), Column("Table"),
    )  # fmt: skip
    rows = tuple(
        (
            Text(one.device),
            Text(one.printed, published=True),
            Text(f"{one.model} ({one.dataset})" if one.dataset else one.model),
            Text(one.strategy),
            Text(one.accuracy, published=True) if one.accuracy else Missing("not published"),
            Text(one.abi) if one.abi else Missing("not told"),
            Text(str(one.threads)) if one.threads else Missing("not told"),
            Text(one.size, published=True) if one.size else Missing("not published"),
            Text(one.whose),
            Text(one.table),
        )
        for one in published
    )
    return Table("Published latencies, the shortest first", columns, rows)


def ranked(speed_ups: Table) -> Table:
    """The rows of a speed-up table that have one, the largest first: where ours stand among the published."""
    where = [column.heading for column in speed_ups.columns].index("Speed-up")
    columns = (Column("Speed-up", "right"), *(c for i, c in enumerate(speed_ups.columns) if i != where))

    def size(value: Value) -> float | None:
        if isinstance(value, Ratio):
            return value.value
        return float(value.text.rstrip("x×")) if isinstance(value, Text) else None

    rows = [(size(row[where]), (row[where], *row[:where], *row[where + 1 :])) for row in speed_ups.rows]
    told = sorted((row for row in rows if row[0] is not None), key=lambda row: -(row[0] or 0.0))
    return Table("Speed-ups, the largest first", columns, tuple(row for _, row in told))


def pruning(view: View, published: Sequence[PublishedTable]) -> list[Table]:
    """Method | Base | Pruned | Δ | Speed Up, a table for each model: the document's rows, then ours.

    Speed Up is that of the documents, MACs before over MACs after; it is no latency.

    Args:
        view: what is in the zoo.
        published: tables with the columns Method, Base (%), Pruned (%), Δ Acc (%), Speed Up.
    """
    columns = (
        Column("Method"), Column("Base (%)"), Column("Pruned (%)"), Column("Δ Acc (points)"),
        Column("Speed Up (MACs)", "right"), Column("Size (MB)", "right"), Column("Whose"),
    )  # fmt: skip
    groups: dict[str, list[tuple[Value, ...]]] = {}
    notes: dict[str, tuple[str, ...]] = {}
    for table in published:
        for row in table.rows:
            cells = [as_value(cell, marked=i > 0) for i, cell in enumerate(row.cells)]
            groups.setdefault(row.model, []).append((*cells, Missing("not published"), Text(figures.whose(table))))
        notes[table.rows[0].model] = notes_of(table)
    for item in view.order:
        artifact, parent = item.artifact, parent_of(view.material, item)
        if artifact.parent is None or not is_pruned(artifact):
            continue
        base, ours = (headline(parent) if parent else None), headline(artifact)
        groups.setdefault(split_name(artifact.parent.name)[0], []).append(
            (
                Text(method_of(artifact)),
                score(base, parent.digest) if base and parent else Missing("parent not in the zoo"),
                score(ours, artifact.digest) if ours else Missing("not measured"),
                accuracy_change(artifact, parent),
                macs_ratio(artifact, parent),
                Size(artifact.size_bytes),
                Text(HERE),
            )
        )
    return [Table(f"Pruning: {model}", columns, tuple(rows), notes.get(model, ())) for model, rows in groups.items()]


def is_pruned(artifact: Artifact) -> bool:
    """Whether an artifact has fewer weights than its parent: by its relation, or by its name."""
    relation = artifact.parent.relation if artifact.parent else ""
    strategy = split_name(artifact.name)[1]
    return any(word in relation or word in strategy for word in ("prune", "sparse", "sparsified"))


def method_of(artifact: Artifact) -> str:
    """What made it small: the name after its model's, and the recipe's name where that says more."""
    strategy = split_name(artifact.name)[1]
    recipe = artifact.recipe.name if artifact.recipe else artifact.name
    return strategy if recipe == artifact.name else f"{strategy} ({recipe})"


def macs_ratio(artifact: Artifact, parent: Artifact | None) -> Value:
    """The parent's MACs over the artifact's."""
    if parent is None:
        return Missing("parent not in the zoo")
    if not artifact.macs or not parent.macs:
        return Missing("MACs not recorded")
    return Text(f"{parent.macs / artifact.macs:.2f}x")


def by_threads(view: View) -> list[Table]:
    """Model | Strategy | Accuracy | Size | Thread1/Thread2/Thread4, a table for each device and ABI."""
    columns = (
        Column("Model"), Column("Compression strategy"), Column("Accuracy", numeric=True),
        Column("Storage size", numeric=True),
        Column("Thread1/Thread2/Thread4 (ms)", "right"), Column("Whose"),
    )  # fmt: skip
    groups: dict[tuple[str, str], list[tuple[Standing | Artifact, str]]] = {}
    places = {(view.title(device), abi): device for device in view.devices for abi in _abis_on(view, device)}
    lines: dict[tuple[str, ...], list[Published]] = {}
    for one in figures.latencies():
        if one.abi and one.threads:
            key = (one.device, one.abi, one.table, one.model, one.strategy, one.dataset or "")
            lines.setdefault(key, []).append(one)
    for (device, abi, _, model, strategy, dataset), told in lines.items():
        printed = Standing(
            (
                Text(f"{model} ({dataset})" if dataset else model),
                Text(strategy),
                _published(told[0].accuracy),
                _published(told[0].size),
                Line(tuple(Text(one.printed, published=True) for one in told)),
                Text(told[0].whose),
            )
        )
        groups.setdefault((device, abi), []).append((printed, printed.says))

    def ours(place: DeviceKey | None, abi: str, artifact: Artifact) -> tuple[Value, ...]:
        assert place is not None  # noqa: S101  a place without a device has printed rows alone
        times = tuple(view.latency_at(artifact.digest, place, abi, count) for count in THREADS)
        model, strategy = split_name(artifact.name)
        return Text(model), Text(strategy), _score(artifact), Size(artifact.size_bytes), Line(times), Text(HERE)

    for (title, abi_here), device_key in places.items():
        measured = {
            cell.artifact_sha256
            for cell in view.cells_of(device_key)
            if cell.abi == abi_here and cell.threads_requested in THREADS
        }
        groups.setdefault((title, abi_here), []).extend(
            (item.artifact, view.material.sign_of(item.artifact.digest))
            for item in view.order
            if item.artifact.digest in measured
        )
    tables = []
    for (device, abi), found in sorted(groups.items(), key=lambda group: group[0]):
        if found:
            place = places.get((device, abi))
            says = [said for _, said in found]
            make = partial(ours, place, abi)
            rows = Rows([about for about, _ in found], says, make, f"{place} {abi} {view.frame}")
            tables.append(Table(f"{device}, {abi}", columns, rows))
    return tables


def _abis_on(view: View, device: DeviceKey) -> list[str]:
    return sorted({cell.abi for cell in view.cells_of(device)})


def _text(text: str | None, otherwise: str) -> Value:
    return Text(text) if text else Missing(otherwise)


def _published(text: str | None) -> Value:
    return Text(text, published=True) if text else Missing("not published")


def _score(artifact: Artifact) -> Value:
    found = headline(artifact)
    return score(found, artifact.digest) if found else Missing("not measured")


def gpu(view: View, published: Sequence[PublishedTable]) -> Table:
    """Latency and images a second on GPUs: the documents' V100 with TensorRT, and cells of the GPU runners here."""
    columns = (
        Column("Model"), Column("Strategy"), Column("Data"), Column("GPU"), Column("Batch", "right"),
        Column("Latency (ms)", "right"), Column("FPS", "right"), Column("Whose"),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = []
    for table in published:
        for row in table.rows:
            delay = _cell(table, row, "latency", "v100")
            fps = _cell(table, row, "fps", None)
            if delay is None and fps is None:
                continue
            rows.append(
                (
                    Text(row.model),
                    Text(row.strategy),
                    _text(row.dataset or table.conditions, "not told"),
                    Text("v100" if delay else "not told"),
                    Missing("not told"),
                    _published(delay),
                    _published(fps),
                    Text(figures.whose(table)),
                )
            )
    on_gpu = [cell for cell in view.best.values() if cell.runner.name in ("torch", "trtexec")]
    for cell in sorted(on_gpu, key=lambda c: (device_of(c), c.model, c.artifact_sha256, c.job_key)):
        rate = images_per_s(cell)
        if rate is None:
            continue
        model, strategy = split_name(cell.model)
        latency = view.latency(cell)
        held = view.material.by_digest.get(cell.artifact_sha256)
        rows.append(
            (
                Text(model),
                Text(strategy),
                Text((held.artifact.dataset if held else None) or "not known"),
                Text(view.title(device_of(cell))),
                Text(dict(cell.options).get("batch", "1")),
                latency,
                Text(f"{rate:.1f}", published=cell.provenance == "published"),
                Text(HERE),
            )
        )
    return Table("GPU latency (ms) and images a second", columns, tuple(rows))


def _cell(table: PublishedTable, row: PublishedRow, holds: str, device: str | None) -> str | None:
    for column, cell in zip(table.columns, row.cells, strict=True):
        if column.holds == holds and column.device == device and cell not in figures.EMPTY:
            return cell
    return None


def amc(view: View, published: PublishedTable) -> Table:
    """Models | Top1 | Top5 | Latency | MACs: AMC's table, then ours of the same networks, one row for each device."""
    columns = (
        Column("Models"), Column("Data"), Column("Top1 Acc (%)"), Column("Top5 Acc (%)"), Column("Device"),
        Column("Latency, 1 thread (ms)", "right"), Column("MACs (M)", "right"), Column("Whose"),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = []
    for row in published.rows:
        model, top1, top5, latency, macs = row.cells
        rows.append(
            (
                Text(f"{row.model} ({model})" if model.lower() != row.model else model),
                Text("ImageNet"),
                as_value(top1, marked=True),
                as_value(top5, marked=True),
                _text(row.device, "not told"),
                as_value(latency, marked=True),
                as_value(macs, marked=True),
                Text("AMC"),
            )
        )
    models = {row.model for row in published.rows}
    for item in view.order:
        if of_model(item, models):
            rows += _amc_rows(view, item)
    notes = tuple(f"{row.cells[0]}: {row.note}." for row in published.rows if row.note)
    return Table("AMC: accuracy, latency, MACs", columns, tuple(rows), (*published.notes, *notes))


def of_model(item: Held, models: set[str]) -> bool:
    """Whether an artifact is one of these models as trained, or its twin on small data (``...-fashion``)."""
    model, strategy = split_name(item.artifact.name)
    return strategy == "none" and model.removesuffix("-fashion") in models


def _amc_rows(view: View, item: Held) -> list[tuple[Value, ...]]:
    artifact = item.artifact
    macs: Value = Text(f"{artifact.macs / 1e6:.1f}") if artifact.macs else Missing("not recorded")
    rows: list[tuple[Value, ...]] = []
    places = sorted({(device_of(c), c.abi) for c in view.material.by_artifact(artifact.digest)})
    found = headline(artifact)
    head = (Text(artifact.name), Text(artifact.dataset or (found.dataset if found else "not known")))
    scores = (_metric(artifact, "top1"), _metric(artifact, "top5"))
    for device, abi in places:
        latency = view.latency_at(artifact.digest, device, abi, 1)
        rows.append((*head, *scores, Text(f"{view.title(device)}, {abi}"), latency, macs, Text(HERE)))
    return rows or [(*head, *scores, Missing("none"), Missing("not measured"), macs, Text(HERE))]


def _metric(artifact: Artifact, name: str) -> Value:
    found = [entry for entry in artifact.accuracy if metric_name(entry.metric) == name]
    best = min(found, key=lambda entry: entry.provenance != "measured", default=None)
    return score(best, artifact.digest) if best else Missing("not measured")
