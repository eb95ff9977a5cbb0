"""Accuracy of a file: counted from its answers, with an interval that tells how little twenty photos say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from compressors.data.photos import LabelledPhoto, labelled_photos
from compressors.evaluate import Answers, FileModel, accuracies, agreement, answer
from pocketzoo.errors import BadInput, WorkFailed
from zoo.artifact import Preprocessing
from zoo.proportions import wilson

HOW = Preprocessing(resize=36, crop=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.mark.parametrize(
    ("successes", "samples", "low", "high"),
    # R: binom.confint(x, n, methods = "wilson")
    [(17, 20, 0.6396, 0.9476), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_the_wilson_interval(successes: int, samples: int, low: float, high: float) -> None:
    assert wilson(successes, samples) == pytest.approx((low, high), abs=5e-5)


def test_no_samples_have_no_interval() -> None:
    with pytest.raises(ValueError, match="0 of 0"):
        wilson(0, 0)


def test_the_files_answers_are_the_networks(network: torch.nn.Module, float_file: Path, labelled: Path) -> None:
    photos = labelled_photos(labelled, "names", r"_(?P<label>\d+)\.", "data.evaluation")
    seen = []
    found = answer(float_file, photos, HOW, lambda: seen.append(1))
    assert (len(seen), found.classes) == (12, 10)
    for photo, best in zip(photos, found.best, strict=True):
        with Image.open(photo.path) as image:
            resized = np.asarray(image.convert("RGB").resize((43, 36), Image.Resampling.BILINEAR), np.float32)
        cut = (resized[2:34, 6:38] / 255 - 0.5) / 0.25
        with torch.no_grad():
            expected = network(torch.from_numpy(cut.transpose(2, 0, 1)[None]))[0]
        assert list(best) == torch.argsort(expected, descending=True)[:5].tolist()


def test_accuracy_in_percent_on_the_file() -> None:
    answers = Answers(labels=(0, 1, 2, 3), best=((0, 1), (0, 1), (0, 2), (0, 1)), classes=10)
    top1, top5 = accuracies(answers, dataset="d", split="s", measured_on="a" * 64)
    assert (top1.metric, top1.value, top1.samples, top1.measured_on) == ("top1", 25.0, 4, "a" * 64)
    assert (top5.metric, top5.value) == ("top5", 75.0)
    assert top1.ci95 is not None
    assert top1.ci95[0] < 25 < top1.ci95[1]
    other = Answers(labels=answers.labels, best=((0,), (1,), (0,), (0,)), classes=10)
    assert agreement(answers, other, dataset="d", split="s", measured_on="a" * 64).value == 75.0


def test_top5_of_five_classes_says_nothing_and_is_left_out() -> None:
    answers = Answers(labels=(0,), best=((0, 1, 2, 3, 4),), classes=5)
    assert [a.metric for a in accuracies(answers, dataset="d", split="s", measured_on="a" * 64)] == ["top1"]


def test_a_label_without_a_class_is_bad_input(float_file: Path, labelled: Path) -> None:
    photo = LabelledPhoto(next(labelled.iterdir()), 10)
    with pytest.raises(BadInput, match=r"label 10, but the model has 10 classes \(0 to 9\)"):
        answer(float_file, [photo], HOW)


def test_an_input_of_another_size_is_refused(float_file: Path) -> None:
    with pytest.raises(WorkFailed, match="takes input of shape"):
        FileModel(float_file)(np.zeros((1, 64, 64, 3), np.float32))


def test_a_file_the_runtime_refuses(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    with pytest.raises(WorkFailed, match="refuses"):
        FileModel(tmp_path / "x.tflite")
