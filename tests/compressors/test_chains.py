"""Chains of steps: any order that works gives a file that keeps what each step promised; any other says why first."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compressors.pipeline import Product, compress
from compressors.progress import Silent
from compressors.recipe import load, shipped
from compressors.steps.quantize import graph
from compressors.steps.sparsify.proof import weight_in
from pocketzoo.errors import BadInput, WorkFailed
from tests.compressors.small_sets import FASHION, needs_fashion
from tests.compressors.test_prune_step import PARENT

PLAN = "train: {epochs: 2, batch: 32, lr: 0.05}"
PRUNE = "  - {kind: prune, target: {macs: 30}, finetune: {epochs: 1, batch: 32, lr: 0.05}}\n"
SPARSIFY = "  - {kind: sparsify, sparsity: 60, schedule: {every: 5}, " + PLAN + "}\n"
TEACHER = "teacher: {recipe: tiny, settings: {train: {epochs: 2}}}"
DISTIL = "  - {kind: distil, l2: 1.0, " + TEACHER + ", " + PLAN + "}\n"
INT8 = "  - {kind: quantize, max_ratio: 0.9}\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chains")


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Product]]:
    monkeypatch.setenv("POCKETZOO_HOME", str(home))

    def run(steps: str, *settings: str) -> list[Product]:
        (tmp_path / "tiny.yaml").write_text(PARENT.format(folder=FASHION))
        path = tmp_path / "tiny-chain.yaml"
        path.write_text(f"name: tiny-chain\ntitle: a chain\nparent: tiny\nsteps:\n{steps}")
        return compress(load(str(path), ("train.epochs=2", "data.training.limit=1200", *settings)), Silent())

    return run


def zero_share(product: Product) -> float:
    """Of the pointwise convolutions, the two 3x3 and the classifier: all but the first and the depthwise one."""
    found = graph.read(product.file)
    weights = [
        weight_in(found, node, product.file) for node in found.weighted[1:] if node.operator != "DEPTHWISE_CONV_2D"
    ]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.size for weight in weights)


def test_sparse_tensors_hold_the_same_numbers_and_give_the_same_answers(float_file: Path, tmp_path: Path) -> None:
    from ai_edge_litert.tools import flatbuffer_utils

    from compressors.steps.sparsify.encode import encode, same_answers

    assert encode(float_file, tmp_path / "none.tflite") == ()  # its weights are dense
    model = flatbuffer_utils.read_model(str(float_file))
    random = np.random.default_rng(0)
    kept = {}
    for tensor in model.subgraphs[0].tensors:
        shape = tuple(tensor.shape)
        if len(shape) == 4 and shape[1:3] == (1, 1) and shape[3] > 1 and model.buffers[tensor.buffer].data is not None:
            values = np.frombuffer(bytes(bytearray(model.buffers[tensor.buffer].data)), np.float32).copy()
            values[random.random(values.size) < 0.9] = 0
            values.reshape(shape)[0] = 0  # an output that nothing reaches
            model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
            kept[tensor.name] = values.reshape(shape)
    dense, sparse = tmp_path / "dense.tflite", tmp_path / "sparse.tflite"
    dense.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    assert len(encode(dense, sparse)) == len(kept) == 2
    same_answers(dense, sparse, (1, 3, 32, 32))
    assert sparse.stat().st_size < 0.5 * dense.stat().st_size
    for tensor in flatbuffer_utils.read_model(str(sparse)).subgraphs[0].tensors:
        if tensor.sparsity is None:
            continue
        values = kept[tensor.name]
        _, _, _, rows = tensor.sparsity.dimMetadata
        segments, columns = np.asarray(rows.arraySegments.values), np.asarray(rows.arrayIndices.values)
        assert (len(segments), segments[-1]) == (values.shape[0] + 1, (values != 0).sum())
        rebuilt = np.zeros(values.shape[::3], np.float32)
        for row in range(values.shape[0]):
            rebuilt[row, columns[segments[row] : segments[row + 1]]] = 1
        assert np.array_equal(rebuilt == 1, values[:, 0, 0] != 0)
    with pytest.raises(WorkFailed, match="answers otherwise"):
        same_answers(float_file, sparse, (1, 3, 32, 32))


@needs_fashion
def test_sparse_in_float_and_int8_to_the_tenth_of_a_percent(run: Callable[..., list[Product]]) -> None:
    tiny, sparse = run(SPARSIFY)
    assert abs(100 * zero_share(sparse) - 60) <= 0.1
    assert zero_share(tiny) < 0.01
    artifact = sparse.artifact
    assert artifact.parent is not None and artifact.parent.relation == "sparsified"
    assert artifact.parameters == tiny.artifact.parameters
    assert artifact.nonzeros is not None and tiny.artifact.nonzeros is not None
    assert artifact.nonzeros < 0.5 * tiny.artifact.nonzeros
    told = next(note for note in artifact.notes if note.startswith("sparsity: "))
    assert f"{artifact.size_bytes:,} bytes" in told and "compressed (zlib" in told
    _, quantized = run(SPARSIFY + INT8)
    assert 100 * zero_share(quantized) >= 60 - 0.1  # rounding makes more
    before, after = (graph.read(product.file) for product in (sparse, quantized))
    for old, new in zip(before.weighted, after.weighted, strict=True):
        was, now = weight_in(before, old, sparse.file), weight_in(after, new, quantized.file)
        assert now.dtype == np.int8
        assert not now[was == 0].any()
    assert quantized.artifact.parent is not None and quantized.artifact.parent.relation == "sparsified-quantized"


@needs_fashion
def test_distil_sparsify_prune_and_int8_in_one_recipe(run: Callable[..., list[Product]]) -> None:
    aware = "  - {kind: quantize, max_ratio: 0.9, qat: {train: {epochs: 1, batch: 32, lr: 0.01}}}\n"
    aware = aware.replace("qat: {", "scheme: dynamic-int8, qat: {activations: abs_max, ")
    tiny, made = run(DISTIL + SPARSIFY + PRUNE + aware)
    artifact = made.artifact
    assert artifact.parent is not None
    assert (artifact.parent.name, artifact.parent.relation) == ("tiny", "distilled-sparsified-pruned-quantized")
    assert artifact.macs is not None and tiny.artifact.macs is not None
    assert artifact.macs / tiny.artifact.macs == pytest.approx(0.7, abs=0.01)
    # Channels go with their zeros, so the share moves a little; every zero that is left is held to the int8 file.
    assert zero_share(made) > 0.5
    names = [stage.name for stage in made.stages]
    order = ["distil", "sparsify", "prune uniform", "fine-tune", "train with fake quantization", "check the zeros"]
    assert [name for name in names if name in order] == order
    told = " ".join(artifact.notes)
    assert "teacher tiny (top-1 " in told
    assert "augmentation" not in told and "the teacher answered each once" in told
    top1 = artifact.metric("top1")
    assert top1 is not None and top1.value > 40  # chance is 10; the training is a matter of seconds


@needs_fashion
def test_ratios_by_search_taught_and_stored_sparse(run: Callable[..., list[Product]]) -> None:
    search = "search: {episodes: 3, images: 60, batch: 32, regression_steps: 3, finetune_steps: 3}"
    _, made = run(
        f"  - {{kind: sparsify, sparsity: 90, ratios: rl, {search}, distil: {{}}, storage: sparse, "
        f"keep: [fc], schedule: {{every: 5}}, {PLAN}}}\n"
    )
    told = " ".join(made.artifact.notes)
    share = re.search(r"ratios rl; ([\d.]+) % of", told)
    assert share is not None and abs(float(share[1]) - 90) <= 0.1
    assert "3 roll-outs" in told
    assert "taught by the dense network: 1 x cross entropy with the labels + 4 x cross entropy softened" in told
    assert "convolutions stored as sparse tensors" in told
    assert made.artifact.operators["DENSIFY"] >= 1
    assert made.artifact.metric("top1") is not None


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (INT8 + SPARSIFY, "sparsify trains a float network, and after quantize there is only an int8 file"),
        (INT8 + DISTIL, "distil trains a float network, and after quantize"),
        (SPARSIFY + PRUNE.replace("target", "criterion: lasso, target"), "the zeros of sparsify would be lost"),
        (SPARSIFY + PRUNE.replace("target", "protocol: ddpg-amc, target"), "the zeros of sparsify would be lost"),
        (SPARSIFY + SPARSIFY, "60 % after 60 % would make no weight zero"),
        (PRUNE + DISTIL.replace("kind: distil", "kind: distil, scratch: true"), "would throw away what prune made"),
        (
            SPARSIFY + INT8.replace("kind: quantize", "kind: quantize, weights: tensor, qat: {weights: min_max, "
            "activations: min_max, train: {epochs: 1}}"),
            "min_max weights have an offset",
        ),
        (SPARSIFY.replace("sparsity: 60", "sparsity: 70, storage: sparse") + INT8, "storage: sparse is for float"),
        (SPARSIFY.replace("sparsity: 60", "sparsity: 0"), "greater than 0"),
        (SPARSIFY.replace("sparsity: 60", "sparsity: 100"), "less than 100"),
        (SPARSIFY.replace("epochs: 2", "epochs: 2, ema: 0.9"), "ema averages weights over masks"),
        (SPARSIFY.replace("every: 5", "begin: 0.5"), "must be before end"),
        (SPARSIFY.replace("sparsity: 60", "sparsity: 60, search: {}"), "search is for ratios: rl"),
        ("  - {kind: distil, " + PLAN + "}\n", "distil needs a teacher"),
        (SPARSIFY.replace("sparsity: 60", "sparsity: 60, storage: sparse"), "two thirds of zeros or more"),
        (DISTIL.replace("l2: 1.0", "fsp: {pairs: [{teacher: [a], student: [b, c]}]}"), "at least 2 items"),
    ],
)  # fmt: skip
def test_a_chain_that_cannot_work_says_why_before_anything_is_trained(
    run: Callable[..., list[Product]], home: Path, steps: str, message: str
) -> None:
    before = set(home.rglob("*"))
    with pytest.raises(BadInput) as caught:
        run(steps)
    assert message in caught.value.as_text()
    assert "tiny-chain.yaml" in caught.value.as_text()
    assert set(home.rglob("*")) == before


@needs_fashion
def test_layers_and_teachers_that_do_not_exist_are_told_with_the_nearest_names(
    run: Callable[..., list[Product]],
) -> None:
    wrong = DISTIL.replace("l2: 1.0", "fsp: {pairs: [{teacher: [inner.0, inner.1], student: [iner.0, inner.1]}]}")
    with pytest.raises(BadInput, match=r"student names a layer that tiny-chain does not have: 'iner.0'") as caught:
        run(wrong)
    assert "did you mean inner.0" in caught.value.as_text()
    with pytest.raises(BadInput) as caught:
        run(DISTIL.replace("recipe: tiny", "recipe: tinny"))
    assert "did you mean tiny" in caught.value.as_text()
    with pytest.raises((BadInput, WorkFailed), match="does not have: 'fcc'"):
        run(SPARSIFY.replace("sparsity: 60", "sparsity: 60, keep: [fcc]"))


def test_every_row_of_the_documents_has_its_recipe_and_its_twin() -> None:
    for percent in (50, 75, 90, 95):
        for way in ("uniform", "heuristic", "rl", "rl-distil"):
            name = f"sparse{percent}-{way}"
            full, twin = (load(f"{model}-{name}").recipe for model in ("mobilenetv1", "mobilenetv1-fashion"))
            for found in (full, twin):
                (step,) = found.sparsifies
                assert (step.sparsity, step.ratios) == (percent, way.removesuffix("-distil"))
                assert (step.distil is not None) == way.endswith("distil")
                how = step.schedule
                assert (how.begin, how.end, how.exponent) == (0.1, 0.5, 3)
            # PocketFlow's schedule and search.
            (step,) = full.sparsifies
            assert (step.train.epochs, step.train.milestones, step.schedule.every) == (100, [30, 60, 80, 90], 500)
            if step.search is not None:
                assert (step.search.episodes, step.search.finetune_steps) == (200, 400)
            if step.distil is not None and step.distil.soft is not None:
                assert (step.distil.soft.temperature, step.distil.soft.weight) == (4, 4)
    for model, teacher in (("mobilenetv1", "resnet50"), ("mobilenetv1-fashion", "resnet20-fashion")):
        taught = load(f"{model}-distil").recipe.steps[0]
        assert taught.kind == "distil" and taught.teacher is not None
        assert (taught.teacher.recipe, taught.l2, taught.scratch) == (teacher, 1.0, True)
        assert taught.fsp is not None and taught.soft is None
        kinds = [step.kind for step in load(f"{model}-distil-quant").recipe.steps]
        assert kinds == ["distil", "quantize"]
        kinds = [step.kind for step in load(f"{model}-prune50-quant").recipe.steps]
        assert kinds == ["prune", "quantize"]
    assert load("mobilenetv1-distil").recipe.steps[0].train.epochs == 120  # type: ignore[union-attr]
    assert {"mobilenetv1-distil", "mobilenetv1-fashion-distil-quant"} <= set(shipped())


def test_the_pairs_of_the_shipped_distillations_agree_in_channels() -> None:
    import torch

    from compressors import architectures
    from compressors.steps.distil.objective import check

    for name in ("mobilenetv1-distil", "mobilenetv1-fashion-distil"):
        student = load(name).recipe
        step = student.steps[0]
        assert step.kind == "distil" and step.teacher is not None and step.teacher.recipe is not None
        teacher = load(step.teacher.recipe).recipe
        how = student.preprocessing
        with torch.device("meta"):
            built = [architectures.build(r.model.architecture, **r.model.options) for r in (student, teacher)]
        check(built[0], built[1], (1, how.channels, how.crop, how.crop), step, (student.name, teacher.name))
