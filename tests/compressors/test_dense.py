"""Boxes and masks: judged as others judge them, read as others write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors.architectures.yolov3 import ANCHORS, STRIDES
from compressors.data.coco import open_coco
from compressors.data.voc import VOC_CLASSES, open_voc
from compressors.dense.agreeing import boxes_alike
from compressors.dense.boxes import Detections, detections, overlaps, suppressed
from compressors.dense.intervals import bootstrapped
from compressors.dense.masks import IGNORED, confusion, intersection_over_union, mean_iou
from compressors.dense.precision import Truth, coco_precision, mean_precision, voc_precision
from compressors.dense.ranking import ranked_coco, ranked_voc
from compressors.dense.yolo_loss import yolo_loss
from compressors.tasks.detection import Detection, JudgedBoxes
from compressors.tasks.segmentation import JudgedMasks, Segmentation
from pocketzoo.errors import BadInput

CLASSES = 3


def scene(random: np.random.Generator, images: int = 12) -> tuple[list[Detections], list[Truth]]:
    """Things and what a middling detector makes of them: moved, missed, doubled, invented."""
    found, truths = [], []
    for _ in range(images):
        count = int(random.integers(1, 7))
        corner, size = random.uniform(0, 200, (count, 2)), random.uniform(8, 120, (count, 2))
        boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
        labels = random.integers(0, CLASSES, count)
        truths.append(Truth(boxes, labels, random.random(count) < 0.15))
        seen = np.repeat(np.arange(count), random.integers(0, 3, count))
        moved = boxes[seen] + random.normal(0, 6, (len(seen), 4)).astype(np.float32)
        invented = np.asarray([[10, 10, 60, 70]], np.float32)
        everything = np.concatenate([moved, invented]).astype(np.float32)
        scores = random.permutation(len(everything)).astype(np.float32) / len(everything) + random.random() * 1e-3
        order = np.argsort(-scores)
        found.append(Detections(everything[order], np.append(labels[seen], 0)[order], scores[order].astype(np.float32)))
    return found, truths


def test_voc_precision_at_half_agrees_with_cocos_own_code() -> None:
    # COCO takes precision at 101 points of recall, VOC the whole curve: the same to a percent or two of one class.
    found, truths = scene(np.random.default_rng(5), images=60)
    ours = mean_precision(voc_precision(found, truths, CLASSES))
    theirs = coco_precision(found, truths, CLASSES)
    assert ours == pytest.approx(theirs["AP50"], abs=1.0)
    assert theirs["AP"] < theirs["AP50"]


def slow_voc(found: list[Detections], truths: list[Truth], label: int, overlap: float) -> tuple[list[bool], int]:
    """Every decision of VOC's rules, spelt out box by box: which answers were right, surest first; how many to find."""
    answers = sorted(
        ((float(s), image, i) for image, seen in enumerate(found) for i, s in enumerate(seen.scores)
         if seen.labels[i] == label),
        key=lambda row: -row[0],
    )  # fmt: skip
    taken: set[tuple[int, int]] = set()
    right = []
    for _, image, index in answers:
        truth, best, where = truths[image], -1.0, -1
        for other in range(len(truth.boxes)):
            if truth.labels[other] != label:
                continue
            a, b = found[image].boxes[index], truth.boxes[other]
            wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
            high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
            if wide * high / both > best:
                best, where = wide * high / both, other
        if best >= overlap and truth.ignored[where]:
            continue
        right.append(best >= overlap and (image, where) not in taken)
        if best >= overlap:
            taken.add((image, where))
    wanted = sum(int(t.labels[i] == label and not t.ignored[i]) for t in truths for i in range(len(t.labels)))
    return right, wanted


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), overlap=st.sampled_from([0.3, 0.5, 0.75]))
def test_voc_precision_is_what_the_rules_spelt_out_give(seed: int, overlap: float) -> None:
    found, truths = scene(np.random.default_rng(seed))
    for points in ("11", "all"):
        ours = voc_precision(found, truths, CLASSES, overlap=overlap, points=points)  # type: ignore[arg-type]
        for label in range(CLASSES):
            right, wanted = slow_voc(found, truths, label, overlap)
            if not wanted:
                assert ours[label] is None
                continue
            curve = [(sum(right[: n + 1]) / wanted, sum(right[: n + 1]) / (n + 1)) for n in range(len(right))]
            if points == "11":
                best = [max([p for r, p in curve if r >= t / 10 - 1e-12], default=0.0) for t in range(11)]
                expected = 100 * sum(best) / 11
            else:
                expected = 100 * sum(max(p for r, p in curve[n:]) / wanted for n, hit in enumerate(right) if hit)
            assert ours[label] == pytest.approx(expected, abs=0.01)


def test_nothing_found_is_no_precision_and_nothing_there_none_at_all() -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    thing = Truth(np.asarray([[0, 0, 9, 9]], np.float32), np.asarray([1]), np.asarray([False]))
    assert voc_precision([nothing], [thing], CLASSES) == [None, 0.0, None]
    assert coco_precision([nothing], [thing], CLASSES)["AP"] == 0
    with pytest.raises(ValueError, match="no image has a box"):
        mean_precision([None, None])


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 4), min_size=1, max_size=12), st.floats(0.1, 0.9))
def test_suppression_keeps_the_surest_and_no_two_that_overlap(rows: list[tuple[int, ...]], threshold: float) -> None:
    boxes = np.asarray([[x, y, x + w + 1, y + h + 1] for x, y, w, h in rows], np.float32)
    scores = np.linspace(1, 0.1, len(boxes), dtype=np.float32)
    kept = suppressed(boxes, scores, threshold)
    assert kept[0] == 0
    shared = overlaps(boxes, boxes)
    assert all(shared[a, b] <= threshold for a in kept for b in kept if a != b)
    for gone in set(range(len(boxes))) - set(kept.tolist()):
        assert any(shared[gone, stays] > threshold and stays < gone for stays in kept)


def test_an_answer_becomes_boxes_inside_the_image() -> None:
    answer = np.asarray(
        [[10, 10, 20, 20, 0.9, 0.8, 0.1], [11, 10, 20, 20, 0.9, 0.7, 0.0], [90, 90, 40, 40, 0.5, 0.0, 0.9]], np.float32
    )
    seen = detections(answer, size=(100, 100), least=0.05)
    assert seen.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(seen.boxes[:2], [[0, 0, 20, 20], [70, 70, 100, 100]])
    np.testing.assert_allclose(seen.scores, [0.72, 0.45, 0.09], rtol=1e-6)


def test_the_loss_of_the_right_answer_is_small_and_falls_towards_it() -> None:
    torch.manual_seed(0)
    boxes = [torch.tensor([[20.0, 30.0, 50.0, 91.0, 1.0]]), torch.zeros(0, 5)]
    answers = [torch.full((2, 64 * 2 // s, 64 * 2 // s, 3, 5 + 2), -4.0) for s in STRIDES]
    free = [answer.clone().requires_grad_() for answer in answers]
    before = yolo_loss(free, boxes)
    optimizer = torch.optim.Adam(free, lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = yolo_loss(free, boxes)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.2 * before.item()
    from compressors.architectures.yolov3 import decoded

    told = torch.cat([decoded(a.detach(), r, s) for a, r, s in zip(free, ANCHORS, STRIDES, strict=True)], 1)
    seen = detections(told[0].numpy(), size=(128, 128), least=0.3)
    assert seen.labels.tolist() == [1]
    np.testing.assert_allclose(seen.boxes[0], [20, 30, 50, 91], atol=4)
    assert len(detections(told[1].numpy(), size=(128, 128), least=0.3).labels) == 0


@given(st.integers(0, 1000))
def test_iou_of_masks_is_that_of_counting_pixels(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, CLASSES, (9, 7)).astype(np.uint8)
    truth[random.random(truth.shape) < 0.2] = IGNORED
    told = random.integers(0, CLASSES, truth.shape)
    ours = intersection_over_union(confusion(truth, told, CLASSES))
    for label in range(CLASSES):
        one, other = (truth == label), (told == label) & (truth != IGNORED)
        either = int((one | other).sum())
        expected = 100 * int((one & other).sum()) / either if either else None
        assert ours[label] == (pytest.approx(expected) if expected is not None else None)


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="label 7"):
        confusion(np.full((2, 2), 7, np.uint8), np.zeros((2, 2), np.int64), CLASSES)
    with pytest.raises(ValueError, match="beside an answer"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.int64), CLASSES)
    with pytest.raises(ValueError, match="no pixel"):
        mean_iou(confusion(np.full((2, 2), IGNORED, np.uint8), np.zeros((2, 2), np.int64), CLASSES))


def voc_folder(folder: Path, objects: str, *, size: tuple[int, int] = (100, 80)) -> Path:
    """A VOC folder of one photo, ``one``, with these objects."""
    for name in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets/Main/train.txt").write_text("one 1\n")
    (folder / "JPEGImages/one.jpg").touch()
    (folder / "Annotations/one.xml").write_text(
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{objects}</annotation>"
    )
    return folder


def thing(name: str, box: tuple[float, ...], difficult: int = 0) -> str:
    edges = "".join(f"<{e}>{v}</{e}>" for e, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{edges}</bndbox></object>"


def test_voc_is_read_with_its_own_pixel_count(tmp_path: Path) -> None:
    folder = voc_folder(tmp_path, thing("dog", (1, 1, 100, 80)) + thing("person", (11, 21, 30, 40), 1))
    photo = open_voc(folder, "train", VOC_CLASSES, "data.training.folder").photos[0]
    assert photo.truth.boxes.tolist() == [[0, 0, 100, 80], [10, 20, 30, 40]]
    assert [VOC_CLASSES[label] for label in photo.truth.labels] == ["dog", "person"]
    assert photo.truth.ignored.tolist() == [False, True]


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        (thing("dgo", (1, 1, 9, 9)), "unknown class 'dgo'"),
        (thing("dog", (1, 1, 300, 9)), "not inside the photo"),
        (thing("dog", (9, 1, 8, 9)), "has no area"),
        (thing("dog", (1, 1, 9, 9)).replace("<xmin>1", "<xmin>one"), "not an annotation"),
        ("<object><name>dog</name></object>", "no bndbox/xmin"),
        ("<object>", "not an annotation"),
        ("<!DOCTYPE a>", "not an annotation"),
        (thing("dog", (1, 1, 9, 9)).replace("<xmin>1", "<xmin>nan"), "not inside the photo"),
    ],
)
def test_wrong_annotations_are_named(tmp_path: Path, objects: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        open_voc(voc_folder(tmp_path, objects), "train", VOC_CLASSES, "data.training.folder")
    assert caught.value.where is not None and caught.value.where.endswith("one.xml")


@pytest.mark.parametrize(("width", "says"), [("9" * 400, "inf x 80"), ("12.5", "12.5 x 80"), ("0", "0 x 80")])
def test_a_size_that_no_photo_has_is_refused(tmp_path: Path, width: str, says: str) -> None:
    folder = voc_folder(tmp_path, "")
    note = folder / "Annotations/one.xml"
    note.write_text(note.read_text().replace("<width>100", f"<width>{width}"))
    with pytest.raises(BadInput, match=says):
        open_voc(folder, "train", VOC_CLASSES, "data.training.folder")


def test_an_encoding_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    folder = voc_folder(tmp_path, "")
    note = folder / "Annotations/one.xml"
    note.write_text('<?xml version="1.0" encoding="klingon"?>' + note.read_text())
    with pytest.raises(BadInput, match="unknown encoding"):
        open_voc(folder, "train", VOC_CLASSES, "data.training.folder")


def test_photos_may_have_other_endings_and_names_with_spaces(tmp_path: Path) -> None:
    folder = voc_folder(tmp_path, thing("dog", (1, 1, 9, 9)))
    (folder / "ImageSets/Main/train.txt").write_text("my one\n\nmy one -1\n")
    (folder / "Annotations/one.xml").rename(folder / "Annotations/my one.xml")
    (folder / "JPEGImages/one.jpg").rename(folder / "JPEGImages/my one.PNG")
    found = open_voc(folder, "train", VOC_CLASSES, "data.training.folder")
    assert [photo.path.name for photo in found.photos] == ["my one.PNG"] * 2
    found.photos[0].path.unlink()
    with pytest.raises(BadInput, match="a photo of the list is not there"):
        open_voc(folder, "train", VOC_CLASSES, "data.training.folder")


def test_a_photo_without_things_is_an_empty_one(tmp_path: Path) -> None:
    photo = open_voc(voc_folder(tmp_path, ""), "train", VOC_CLASSES, "data.training.folder").photos[0]
    assert photo.truth.boxes.shape == (0, 4)


def coco_folder(folder: Path, **changes: object) -> Path:
    whole: dict[str, object] = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [{"image_id": 7, "category_id": 18, "bbox": [1.5, 2, 10, 20.25], "iscrowd": 0, "area": 1}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        **changes,
    }
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations/instances_val.json").write_text(json.dumps(whole))
    (folder / "val").mkdir()
    (folder / "val/a.jpg").touch()
    return folder


def test_coco_is_read_with_labels_in_the_order_of_ids(tmp_path: Path) -> None:
    found = open_coco(coco_folder(tmp_path), "val", "data.training.folder")
    assert found.classes == ("person", "dog")
    assert found.photos[0].truth.boxes.tolist() == [[1.5, 2, 11.5, 22.25]]
    assert found.photos[0].truth.labels.tolist() == [1]
    assert found.remarks == ()


def test_boxes_without_area_are_left_out_and_told(tmp_path: Path) -> None:
    """As annotation 918 of COCO's training split of 2017, on which a reader that refuses it would end."""
    line = {"image_id": 7, "category_id": 1, "bbox": [26.65, 38.33, 1.03, 0.0], "iscrowd": 0, "area": 0.0}
    thing = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 2], "iscrowd": False}
    found = open_coco(coco_folder(tmp_path, annotations=[line, thing]), "val", "data.training.folder")
    assert found.photos[0].truth.boxes.tolist() == [[0, 0, 2, 2]]
    assert found.remarks == ("1 of 2 boxes have no area and are left out",)


def test_things_are_small_or_large_by_their_outline(tmp_path: Path) -> None:
    """COCO tells sizes by the area of the segment; a box may be many times larger."""
    thing = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 60, 40], "area": 500.0}
    truth = open_coco(coco_folder(tmp_path, annotations=[thing]), "val", "key").photos[0].truth
    found = Detections(truth.boxes, truth.labels, np.ones(1, np.float32))
    assert coco_precision([found], [truth], 2).keys() == {"AP", "AP50", "AP75", "APsmall"}
    by_box = Truth(truth.boxes, truth.labels, truth.ignored)
    assert coco_precision([found], [by_box], 2).keys() == {"AP", "AP50", "AP75", "APmedium"}
    kept = Detection(2, 64, ANCHORS, "coco")
    again = kept.restored(JudgedBoxes((found,), (truth,), 2, "coco").arrays())
    assert coco_precision(again.found, again.truths, 2)["APsmall"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"annotations": [{"image_id": 8, "category_id": 18, "bbox": [0, 0, 1, 1]}]}, "image 8, which is not there"),
        ({"annotations": [{"image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]}]}, "category 2"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 99, 1]}]}, "not inside the photo"),
        ({"images": [{"id": 7, "file_name": "../../etc/passwd", "width": 9, "height": 9}]}, "outside its folder"),
        ({"images": []}, "annotations of no photo"),
        ({"categories": 3}, "not annotations of COCO"),
        ({"categories": []}, "without categories"),
        ({"categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "dog"}]}, "two categories have the name 'dog'"),
        ({"categories": [{"id": 1, "name": "dog"}, {"id": 1, "name": "cat"}]}, "two categories have the id 1"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}] * 2}, "two images have the id 7"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": 64.5, "height": 48}]}, "a photo of 64.5 x 48 pixels"),
        ({"images": [{"id": 7, "file_name": "b.jpg", "width": 64, "height": 48}]}, "1 of 1 photos .* are not there"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [9, 9, -2, 1]}]}, "has no area"),
    ],
)
def test_wrong_coco_files_are_named(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        open_coco(coco_folder(tmp_path, **changes), "val", "data.training.folder")


def test_what_is_missing_is_said_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such list of photos") as caught:
        open_voc(voc_folder(tmp_path / "voc", ""), "tset", VOC_CLASSES, "data.training.folder")
    assert caught.value.detail == ("lists there: train",)
    with pytest.raises(BadInput, match="no such annotations") as caught:
        open_coco(coco_folder(tmp_path / "coco"), "train", "data.training.folder")
    assert caught.value.detail == ("splits there: val",)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ranked_answers_have_the_precision_of_both_definitions(seed: int) -> None:
    found, truths = scene(np.random.default_rng(seed), images=25)
    voc, coco = ranked_voc(found, truths, CLASSES), ranked_coco(found, truths, CLASSES)
    for points in ("11", "all"):
        expected = mean_precision(voc_precision(found, truths, CLASSES, points=points))  # type: ignore[arg-type]
        assert voc.mean(points) == pytest.approx(expected, abs=1e-9)  # type: ignore[arg-type]
    assert coco.mean("101") == pytest.approx(coco_precision(found, truths, CLASSES)["AP"], abs=1e-9)


def test_an_image_counted_twice_is_an_image_that_is_there_twice() -> None:
    found, truths = scene(np.random.default_rng(9), images=8)
    weights = np.asarray([2, 0, 1, 1, 3, 0, 1, 0])
    copies = [index for index, times in enumerate(weights) for _ in range(times)]
    more_found, more_truths = [found[i] for i in copies], [truths[i] for i in copies]
    # Equal scores of copies may fall in any order, which the mean over points of recall does not see.
    again = ranked_voc(more_found, more_truths, CLASSES).mean("all")
    assert ranked_voc(found, truths, CLASSES).mean("all", weights) == pytest.approx(again, abs=1e-9)
    again = ranked_coco(more_found, more_truths, CLASSES).mean("101")
    assert ranked_coco(found, truths, CLASSES).mean("101", weights) == pytest.approx(again, abs=1e-9)


def test_a_detector_that_finds_nothing_has_no_precision() -> None:
    _, truths = scene(np.random.default_rng(1), images=4)
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    judged = JudgedBoxes((nothing,) * 4, tuple(truths), CLASSES, "coco")
    told = judged.accuracies(dataset="made", split="test", measured_on="0" * 64)
    assert told[0].metric == "AP-coco"
    assert {one.value for one in told} == {0.0}
    assert all(one.ci95 in (None, (0.0, 0.0)) for one in told)


def test_what_a_stage_keeps_of_boxes_is_all() -> None:
    found, truths = scene(np.random.default_rng(4), images=6)
    truths[2] = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    task = Detection(CLASSES, 224, ANCHORS)
    judged = JudgedBoxes(tuple(found), tuple(truths), CLASSES, "voc")
    again = task.restored(judged.arrays())
    assert again.mean() == judged.mean()
    assert [len(one.labels) for one in again.truths] == [len(one.labels) for one in truths]
    told = judged.accuracies(dataset="made", split="test", measured_on="0" * 64)
    assert [one.metric for one in told[:3]] == ["mAP-voc07", "mAP-voc10", "AP-coco"]
    for one in told[:3]:
        assert one.ci95 is not None and one.ci95[0] < one.value < one.ci95[1]


def slow_alike(mine: Detections, theirs: Detections) -> int:
    """Pairs, spelt out: the surest of mine first, each takes the best of its class that is left."""
    left = [i for i in range(len(theirs.labels)) if theirs.scores[i] >= 0.5]
    pairs = 0
    for i in np.argsort(-mine.scores, kind="stable"):
        if mine.scores[i] < 0.5:
            continue
        fits = [(float(overlaps(mine.boxes[i : i + 1], theirs.boxes[j : j + 1])[0, 0]), j) for j in left]
        fits = [(share, j) for share, j in fits if share >= 0.5 and mine.labels[i] == theirs.labels[j]]
        if fits:
            left.remove(max(fits)[1])
            pairs += 1
    return pairs


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_boxes_that_two_files_find_are_counted_in_pairs(seed: int) -> None:
    found, _ = scene(np.random.default_rng(seed))
    random = np.random.default_rng(seed + 10)
    others = [Detections(f.boxes + random.normal(0, 9, (1, 4)).astype(np.float32), f.labels, f.scores) for f in found]
    both, together = boxes_alike(found, others)
    assert both.tolist() == [slow_alike(mine, theirs) for mine, theirs in zip(found, others, strict=True)]
    assert 0 < both.sum() < together.sum() / 2
    assert together.tolist() == [2 * int((f.scores >= 0.5).sum()) for f in found]


def test_a_detector_is_like_itself_and_unlike_a_blind_one() -> None:
    found, truths = scene(np.random.default_rng(2))
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    mine = JudgedBoxes(tuple(found), tuple(truths), CLASSES, "voc")
    blind = JudgedBoxes((nothing,) * len(found), tuple(truths), CLASSES, "voc")
    assert mine.alike(mine) == (100, (100, 100))
    assert mine.alike(blind) == (0, (0, 0))
    assert blind.alike(blind) is None


def test_masks_are_alike_where_points_are() -> None:
    told = np.zeros((4, 64, 64), np.uint8)
    other = told.copy()
    other[:2, :32] = 1
    counts = np.ones((4, 2), np.int64)
    share, interval = JudgedMasks(counts, counts, told).alike(JudgedMasks(counts, counts, other))
    assert share == 75
    assert interval[0] < 75 < interval[1]


def test_the_interval_of_a_mean_is_that_of_the_textbook() -> None:
    values = np.random.default_rng(0).normal(50, 10, 400)
    low, high = bootstrapped(lambda weights: float(weights @ values / weights.sum()), 400, 4000)
    error = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - error, abs=0.15)
    assert high == pytest.approx(values.mean() + error, abs=0.15)


def test_pixels_are_counted_alike_in_torch_and_in_numpy() -> None:
    random = np.random.default_rng(6)
    masks = random.integers(0, CLASSES, (3, 20, 30)).astype(np.uint8)
    masks[:, :4] = IGNORED
    answers = torch.from_numpy(random.normal(size=(3, CLASSES, 20, 30)).astype(np.float32))
    task = Segmentation(CLASSES)
    tally = task.tally()
    tally.see(answers[:2], torch.from_numpy(masks[:2]))
    tally.see(answers[2:], torch.from_numpy(masks[2:]))
    counts = sum(confusion(mask, told, CLASSES) for mask, told in zip(masks, answers.argmax(1).numpy(), strict=True))
    assert (tally.parts() == counts).all()
    assert task.percent([tally.parts()]) == pytest.approx(mean_iou(np.asarray(counts)))
    none = task.tally()
    none.see(answers, torch.full((3, 20, 30), IGNORED))
    assert task.percent([none.parts()]) == 0


def test_the_loss_of_masks_leaves_ignored_pixels_out() -> None:
    task = Segmentation(2)
    answers = torch.zeros(1, 2, 2, 2, requires_grad=True)
    targets = torch.tensor([[[0, 1], [IGNORED, IGNORED]]])
    loss = task.loss(answers, targets, 0.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(np.log(2))
    assert answers.grad is not None
    assert (answers.grad[0, :, 1] == 0).all() and (answers.grad[0, :, 0] != 0).all()
    assert float(task.loss(answers.detach(), torch.full((1, 2, 2), IGNORED), 0.0)) == 0


def test_ignored_boxes_are_not_learnt() -> None:
    task = Detection(CLASSES, 64, ANCHORS)
    torch.manual_seed(0)
    answers = [torch.randn(1, 64 // s, 64 // s, 3, 5 + CLASSES) for s in STRIDES]
    box = [10.0, 10.0, 40.0, 40.0, 1.0]
    both = task.loss(
        answers, torch.tensor([[[*box, 0.0], [5.0, 5.0, 30.0, 50.0, 2.0, 1.0], [0.0] * 4 + [-1.0, 0.0]]]), 0.0
    )
    one = task.loss(answers, torch.tensor([[[*box, 0.0]]]), 0.0)
    assert float(both) == float(one) == pytest.approx(float(yolo_loss(answers, [torch.tensor([box])])))
    assert np.isfinite(float(task.loss(answers, torch.tensor([[[0.0] * 4 + [-1.0, 0.0]]]), 0.0)))
