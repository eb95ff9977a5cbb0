"""The card: read back by the Hub's parser and two YAML readers, rendered, its programs run, and attacked by texts."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from ruamel.yaml import YAML

from pocketzoo.files import sha256_file
from tests.records import measurement_for
from zoo.artifact import (
    Accuracy,
    Artifact,
    FileRecord,
    Parent,
    Preprocessing,
    Quantization,
    RecipeRecord,
    TensorSpec,
)
from zoo.card import card, program
from zoo.card_data import front_matter, metadata, relation_of, yaml_scalar
from zoo.measurement import Measurement, Verdict
from zoo.text import latest_per_cell

DIGEST, PARENT = "a" * 64, "b" * 64
SCALED = Quantization(scales=(0.02,), zero_points=(-1,))
NORMAL = Preprocessing(resize=36, crop=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def accuracy(metric: str, value: float, samples: int, **fields: object) -> Accuracy:
    known = {"dataset": "imagenet-1k", "split": "s", "measured_on": DIGEST, **fields}
    return Accuracy(metric=metric, value=value, samples=samples, **known)  # type: ignore[arg-type]


def artifact(**fields: object) -> Artifact:
    known: dict[str, object] = {
        "name": "mobilenetv2-quant",
        "format": "tflite",
        "files": (FileRecord(name="mobilenetv2-quant.tflite", sha256=DIGEST, size=4_150_000),),
        "inputs": (
            TensorSpec(name="in", shape=(1, 32, 32, 3), dtype="int8", quantization=SCALED),
        ),
        "outputs": (TensorSpec(name="out", shape=(1, -1), dtype="float32"),),
        "operators": {"CONV_2D": 35, "ADD": 10},
        "task": "image-classification",
        "dataset": "imagenet-1k",
        "preprocessing": NORMAL,
        "accuracy": (
            accuracy("top1", 85.0, 20, ci95=(64.0, 94.8)),
            accuracy("top1", 71.8, 50_000, split="validation", provenance="published"),
            accuracy("top5", 99.0, 20, measured_on=PARENT),
        ),
        "parent": Parent(digest=PARENT, name="mobilenetv2", relation="quantized"),
        "recipe": RecipeRecord(name="mobilenetv2-quant", digest="c" * 64, text="steps:\n\t- quantize\n```\n````\n"),
        "versions": {"torch": "2.13.0"},
        "licence": "BSD-3-Clause",
    }  # fmt: skip
    return Artifact(**{**known, **fields})  # type: ignore[arg-type]


def measured(a: Artifact) -> list[Measurement]:
    return [
        measurement_for(a, threads=1, median_ms=3.1, key="1" * 64),
        measurement_for(a, threads=2, median_ms=0.00001234, key="2" * 64),
        measurement_for(a, threads=4, verdict="throttled", key="3" * 64),
        measurement_for(a, threads=8, verdict="emulated", provenance="emulated", key="4" * 64),
        measurement_for(a, threads=16, provenance="published", key="5" * 64),
    ]


def body_of(text: str) -> list[Token]:
    return MarkdownIt("gfm-like", {"linkify": False}).parse(text.split("\n---\n", 1)[1])


def rows_of(tokens: list[Token], heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, as Markdown."""
    rows: list[list[str]] = []
    inside = ""
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            inside = tokens[number + 1].content
        elif token.type == "tr_open" and inside == heading:
            rows.append([])
        elif token.type == "inline" and inside == heading and tokens[number - 1].type in ("td_open", "th_open"):
            rows[-1].append(token.content)
    return rows


class TestMetadata:
    def test_the_hubs_parser_reads_what_was_measured_with_its_device(self) -> None:
        a = artifact()
        data = ModelCard(card(a, measured(a))).data
        assert (data.license, data.library_name, data.pipeline_tag) == (
            "bsd-3-clause", "litert", "image-classification",
        )  # fmt: skip
        assert data.tags == ["pocketzoo", "on-device", "tflite", "quantized", "int8"]
        assert data.datasets == ["imagenet-1k"]
        results = data.eval_results
        assert results is not None
        found = {(r.metric_type, r.metric_value, r.metric_config) for r in results}
        assert found == {
            ("accuracy", 85.0, None),
            ("latency_ms_p50", 3.1, "local"),
            ("latency_ms_p50", 1.234e-05, "local"),
        }
        latency = next(r for r in results if r.metric_value == 3.1)
        assert latency.metric_args is not None
        assert latency.metric_args["device"] == "local"
        assert latency.metric_args["abi"] == "x86_64"
        assert latency.metric_args["threads"] == 1
        assert latency.metric_args["sha256"] == DIGEST

    def test_what_the_hub_parses_it_writes_the_same(self) -> None:
        """No key is dropped on the way through the Hub's own records."""
        text = card(artifact(), measured(artifact()))
        read = ModelCard(text)
        ours = yaml.safe_load(text.split("---\n")[1])
        theirs = read.data.to_dict()
        assert theirs == ours

    @pytest.mark.parametrize(
        ("licence", "expected"),
        [("MIT", {"license": "mit"}), ("My: own\n", {"license": "other", "license_name": "My: own\n"}), (None, {})],
    )
    def test_a_licence_the_hub_does_not_know_is_other(self, licence: str | None, expected: dict[str, str]) -> None:
        data = metadata(artifact(licence=licence), [])
        assert {key: value for key, value in data.items() if key.startswith("license")} == expected

    @pytest.mark.parametrize(
        ("relation", "expected"),
        [("quantized", "quantized"), ("pruned", "finetune"), ("distil", "finetune"), ("derived", None)],
    )
    def test_the_hubs_word_for_a_relation(self, relation: str, expected: str | None) -> None:
        assert relation_of(relation) == expected

    @settings(max_examples=150)
    @given(st.text(max_size=60) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70))
    def test_a_scalar_reads_back_in_both_dialects_of_yaml(self, value: str | float) -> None:
        line = f"k: {yaml_scalar(value)}\nl: end\n"
        for read in (yaml.safe_load(line), YAML(typ="safe", pure=True).load(line)):
            assert read == {"k": value, "l": "end"}
            assert type(read["k"]) is type(value)
        assert line.count("\n") == 2

    @given(
        st.sampled_from(
            ["yes", "No", "on", "NULL", "~", "1e3", "0x1f", "1_000", "12:30:45", "2026-11-21", ".inf", "", "=", "<<"]
        )
    )
    def test_texts_that_look_like_something_else(self, value: str) -> None:
        line = f"k: {yaml_scalar(value)}\n"
        assert yaml.safe_load(line) == YAML(typ="safe", pure=True).load(line) == {"k": value}

    def test_texts_without_end_are_cut(self) -> None:
        """A key of YAML may have 1,024 characters, and metadata of a megabyte are none."""
        a = artifact(licence="x" * 10_000, task="t" * 10_000)
        cell = msgspec.structs.replace(measured(a)[0], options=(("o" * 10_000, "v" * 10_000),), abi="a" * 10_000)
        text = card(a, [cell])
        assert len(text.split("---\n")[1]) < 5_000
        assert len(ModelCard(text).data.eval_results or ()) == 2


class TestBody:
    def test_each_figure_says_where_it_is_from(self) -> None:
        a = artifact()
        rows = rows_of(body_of(card(a, measured(a))), "Latency")
        by_threads = {row[2]: row for row in rows}
        assert [by_threads["1"][i] for i in (3, 6, 7)] == ["3.100", "valid", "measured"]
        assert by_threads["4"][6] == "throttled"
        assert [by_threads["8"][i] for i in (3, 7)] == ["*3.000*", "**emulated**"]
        assert [by_threads["16"][i] for i in (3, 7)] == ["*3.000*", "*published by others*"]
        accuracy = rows_of(body_of(card(a)), "Accuracy")
        assert accuracy[1][1:] == ["85.0% (17/20)", "64.0 to 94.8", "20", "imagenet-1k/s", "this file"]
        assert accuracy[2][1] == "*71.80% (published)*"
        assert accuracy[3][5] == f"`sha256:{PARENT[:12]}`"

    def test_a_measurement_of_another_file_is_not_shown(self) -> None:
        other = artifact(files=(FileRecord(name="other.tflite", sha256="d" * 64, size=1),))
        text = card(artifact(), measured(other))
        assert "Not measured yet" in text
        assert "latency_ms" not in text

    def test_the_recipe_stays_in_its_fence(self) -> None:
        fences = [token for token in body_of(card(artifact())) if token.type == "fence"]
        assert [fence.info for fence in fences] == ["yaml", "python", "sh", "sh"]
        assert fences[0].content == "steps:\n    - quantize\n```\n````\n"

    def test_a_bare_entry_has_a_card(self) -> None:
        bare = Artifact(name="net", format="onnx", files=(FileRecord(name="net.onnx", sha256=DIGEST, size=7),))
        text = card(bare)
        assert ModelCard(text).data.to_dict() == {"tags": ["pocketzoo", "on-device", "onnx"]}
        assert [t.content for t in body_of(text) if t.type == "inline" and t.level == 1][:1] == ["net"]

    def test_the_sums_are_checked_by_sha256sum(self, tmp_path: Path) -> None:
        (tmp_path / "net.tflite").write_bytes(b"weights")
        record = FileRecord(name="net.tflite", sha256=sha256_file(tmp_path / "net.tflite"), size=7)
        fences = [t for t in body_of(card(artifact(files=(record,)))) if t.type == "fence"]
        done = subprocess.run(
            ["sh", "-c", fences[-1].content], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "net.tflite: OK\n")


_ACTIVE = "|`<>*_[]()!&\\\n\r\t#~-=+:\"'$@{}%. ab\x00\x1b\u202e\u2028é😀"
_ATTACKS = [
    "</td><script>", "a|b|c", "```\n# out", "![x](http://e)", "[a]: http://e", "---\n", "${{x}}", "<!--", "&lt;",
    "@all", "| a |\n| --- |", "\\", "`", "\\|", "http://e.example/x", "1. a", "- a", "# a",
]  # fmt: skip
NASTY = st.text(alphabet=st.sampled_from(_ACTIVE) | st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    _ATTACKS
)


@settings(max_examples=120, deadline=None)
@given(st.lists(NASTY, min_size=12, max_size=12))
def test_no_text_breaks_out_of_its_place(texts: list[str]) -> None:
    t = iter(texts)
    plain = artifact()
    nasty = artifact(
        inputs=(TensorSpec(name=next(t), shape=(1, 2), dtype=next(t)),),
        operators={next(t): 1},
        task=next(t),
        dataset=next(t),
        accuracy=(
            Accuracy(metric=next(t), value=1.5, dataset=next(t), split=next(t), samples=3, measured_on=DIGEST),
            *plain.accuracy[1:],
        ),
        parent=Parent(digest=PARENT, name="mobilenetv2", relation=next(t)),
        recipe=RecipeRecord(name=next(t), digest="c" * 64, text="\n".join(texts)),
        licence=next(t),
        notes=(texts[0],),
        source=texts[1],
        versions={texts[2]: texts[3]},
    )
    cells = [
        msgspec.structs.replace(
            m,
            device=msgspec.structs.replace(m.device, name=texts[4], soc=texts[7]),
            abi=texts[0],
            options=((texts[5], texts[6]),),
            verdict=Verdict(name=m.verdict.name, reason=texts[8]),
        )
        for m in measured(nasty)
    ]
    text = card(nasty, cells, tags=("latest",))
    data = metadata(nasty, latest_per_cell(tuple(cells)))
    head = front_matter(data)
    assert text.startswith(head)
    assert yaml.safe_load(head[4:-4]) == YAML(typ="safe", pure=True).load(head[4:-4]) == data
    tokens = body_of(text)
    kinds = [token.type for token in tokens]
    inner = [child.type for token in tokens for child in token.children or ()]
    assert not {"html_block", "blockquote_open", "code_block", "hr"} & set(kinds)
    assert not {"html_inline", "link_open", "image", "s_open", "hardbreak"} & set(inner)
    headings = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    assert headings == ["mobilenetv2-quant", "File", "Accuracy", "Latency", "Lineage", "Run it", "Get it"]
    for heading, width, count in (("Accuracy", 6, 4), ("Latency", 9, 6)):
        assert [len(row) for row in rows_of(tokens, heading)] == [width] * count
    assert [len(row) for row in rows_of(tokens, "File")] == [3, 3, 5, 5, 5]
    assert [token.info for token in tokens if token.type == "fence"] == ["yaml", "python", "sh", "sh"]
    assert all(char.isprintable() or char == "\n" for char in text)
    compile(program(nasty), "card", "exec")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (50, 73, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=95)
    return tmp_path / "photo.jpg"


def run_block(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (block,) = re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)
    assert len([line for line in block.splitlines() if line and not re.match("import |from ", line)]) <= 10
    monkeypatch.chdir(folder)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block, "card", "exec"), {})
    return out.getvalue()


def test_the_program_gives_what_the_evaluation_gives(
    tiny_tflite: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compressors.data.photos import open_photo
    from compressors.data.preprocessing import centre
    from compressors.evaluate import FileModel

    shutil.copy(tiny_tflite, tmp_path / "tiny.tflite")
    record = FileRecord(name="tiny.tflite", sha256=DIGEST, size=tiny_tflite.stat().st_size)
    a = artifact(files=(record,), inputs=(TensorSpec(name="in", shape=(1, 32, 32, 3), dtype="float32"),))
    answer = FileModel(tiny_tflite)(centre(open_photo(photo), NORMAL)).ravel()
    shown = run_block(card(a), tmp_path, monkeypatch)
    assert shown.strip() == str(answer.argsort()[::-1][:5])


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_the_program_makes_grey_inputs_as_the_evaluation_does(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: Literal["NHWC", "NCHW"],
    fit: Literal["crop", "stretch"],
) -> None:
    import numpy as np

    from compressors.data.photos import open_photo
    from compressors.data.preprocessing import centre

    grey = Preprocessing(resize=None, crop=28, mean=(0.286,), std=(0.353,), layout=layout, fit=fit)
    shape = (1, 28, 28, 1) if layout == "NHWC" else (1, 1, 28, 28)
    tensor = TensorSpec(name="in", shape=shape, dtype="float32")
    prepare, _ = program(artifact(inputs=(tensor,), preprocessing=grey)).split("model = ")
    monkeypatch.chdir(tmp_path)
    variables: dict[str, object] = {}
    exec(compile(prepare, "card", "exec"), variables)
    x = np.asarray(variables["x"])
    expected = centre(open_photo(photo), grey)
    assert x.shape == expected.shape == shape
    assert np.allclose(x, expected, atol=1e-5)


def test_a_cropped_photo_is_written_as_ever() -> None:
    assert b"fit" not in msgspec.json.encode(NORMAL)
    stretched = Preprocessing(resize=None, crop=32, mean=(0.5,), std=(0.5,), fit="stretch")
    assert msgspec.json.decode(msgspec.json.encode(stretched), type=Preprocessing) == stretched
    with pytest.raises(ValueError, match="is not resized before"):
        Preprocessing(resize=40, crop=32, mean=(0.5,), std=(0.5,), fit="stretch")


def test_the_program_shows_every_output_of_a_detector() -> None:
    boxes = tuple(TensorSpec(name=str(n), shape=(1, n, n, 3, 6), dtype="float32") for n in (2, 4, 8))
    shown = program(artifact(task="object-detection", outputs=boxes))
    assert "for tensor in model.get_output_details()" in shown and "argsort" not in shown
    compile(shown, "card", "exec")


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_the_program_quantizes_as_the_evaluation_does(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    import numpy as np

    from compressors.data.photos import open_photo
    from compressors.data.preprocessing import centre
    from compressors.evaluate import _quantize

    tensor = TensorSpec(name="in", shape=(1, 32, 32, 3), dtype=dtype, quantization=SCALED)
    prepare, model = program(artifact(inputs=(tensor,))).split("model = ")
    assert f".astype(np.{dtype})" in model
    monkeypatch.chdir(tmp_path)
    variables: dict[str, object] = {}
    exec(compile(prepare, "card", "exec"), variables)
    x = np.asarray(variables["x"]).astype(dtype)
    expected = _quantize(centre(open_photo(photo), NORMAL), {"dtype": dtype, "quantization": (0.02, -1)})
    assert x.shape == expected.shape
    assert (x != expected).sum() <= 3  # float32 there, float64 here: a tie may round the other way
    assert np.abs(x.astype(int) - expected.astype(int)).max() <= 1


def test_the_program_runs_on_noise_where_nothing_is_known_of_photos(
    tiny_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(tiny_tflite, tmp_path / "tiny.tflite")
    record = FileRecord(name="tiny.tflite", sha256=DIGEST, size=tiny_tflite.stat().st_size)
    a = artifact(files=(record,), inputs=(), preprocessing=None, task=None)
    assert run_block(card(a), tmp_path, monkeypatch).startswith("[")


def test_show_prints_the_card(tiny_tflite: Path) -> None:
    from click.testing import CliRunner

    from zoo.cli import zoo
    from zoo.store import Store

    record = FileRecord(name="tiny.tflite", sha256=sha256_file(tiny_tflite), size=tiny_tflite.stat().st_size)
    entry = Store().add(artifact(name="tiny", files=(record,)), {"tiny.tflite": tiny_tflite})
    shown = CliRunner().invoke(zoo, ["show", "tiny", "--card"])
    assert (shown.exit_code, shown.stdout) == (0, card(entry.artifact, tags=("latest",)))
    as_json = CliRunner().invoke(zoo, ["show", "tiny", "--card", "--json"])
    assert msgspec.json.decode(as_json.stdout)["card"] == shown.stdout
