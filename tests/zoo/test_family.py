"""Which names and lineages one name may stand for."""

from __future__ import annotations

import pytest

from tests.zoo.candidates import digest_of, model
from zoo.candidate import Candidate
from zoo.family import family, is_variant
from zoo.reference import parse_reference


def names(wanted: str, *candidates: Candidate) -> list[str]:
    return sorted(c.name for c in family(parse_reference(wanted), candidates).members)


@pytest.mark.parametrize(
    ("name", "base", "is_one"),
    [
        ("mobilenetv1", "mobilenetv1", True),
        ("mobilenetv1-quant", "mobilenetv1", True),
        ("mobilenetv1-0.75x", "mobilenetv1", True),
        ("mobilenetv1-0.75x-quant", "mobilenetv1-0.75x", True),
        ("mobilenetv1-prune50-quant", "mobilenetv1", True),
        ("mobilenetv1-quant-channelwise", "mobilenetv1-quant", True),
        ("amc-mobilenetv1-0.5flops", "mobilenetv1", True),
        ("amc-mobilenetv1-0.5time-quant", "mobilenetv1", True),
        ("mobilenetv1-yolov3", "mobilenetv1", False),
        ("mobilenetv1-yolov3-quant", "mobilenetv1", False),
        ("mobilenetv10", "mobilenetv1", False),
        ("mobilenetv1", "mobilenetv1-quant", False),
        ("deeplabv3-mobilenetv2", "mobilenetv2", False),
        ("mobilenetv1-", "mobilenetv1", False),
        ("mobilenetv1-prune", "mobilenetv1", False),
    ],
)
def test_the_grammar_of_variants(name: str, base: str, is_one: bool) -> None:
    assert is_variant(name, base) is is_one


def test_lineage_leads_to_the_family_under_any_name() -> None:
    base = model("mobilenetv1")
    child = model("small-thing", parent=base.digest, parent_name="mobilenetv1")
    grandchild = model("smaller-thing", parent=child.digest, parent_name="small-thing")
    stranger = model("resnet18", parent=digest_of("elsewhere"), parent_name="resnet34")
    assert names("mobilenetv1", grandchild, stranger, base, child) == ["mobilenetv1", "small-thing", "smaller-thing"]
    # The parent itself need not be there: the manifest of the child names it.
    assert names("mobilenetv1", child) == ["small-thing"]


def test_a_circle_of_parents_ends() -> None:
    one = model("mobilenetv1", parent=digest_of("b"), parent_name="b")
    other = model("b", parent=one.digest, parent_name="mobilenetv1", digest=digest_of("b"))
    assert names("mobilenetv1", one, other) == ["b", "mobilenetv1"]


def test_another_task_is_left_out_where_both_are_known() -> None:
    base = model("mobilenetv1")
    detector = model("my-detector", parent=base.digest, parent_name="mobilenetv1", task="object-detection")
    unknown = model("my-thing", parent=base.digest, parent_name="mobilenetv1", task=None)
    found = family(parse_reference("mobilenetv1"), [detector, unknown, base])
    assert sorted(c.name for c in found.members) == ["mobilenetv1", "my-thing"]
    assert [c.name for c in found.other_task] == ["my-detector"]


def test_what_no_tag_points_at_was_replaced() -> None:
    old = model("mobilenetv1", salt="old", tags=())
    new = model("mobilenetv1")
    found = family(parse_reference("mobilenetv1"), [old, new])
    assert found.members == (new,)
    assert found.untagged == (old,)
    assert family(parse_reference("mobilenetv1"), [old]).members == (old,)
    assert family(parse_reference(f"mobilenetv1@sha256:{old.digest}"), [old, new]).members == (old,)


def test_a_tag_or_digest_means_one_entry() -> None:
    base, variant = model("mobilenetv1", tags=("latest", "v2")), model("mobilenetv1-quant", tags=("v2",))
    assert names("mobilenetv1:v2", base, variant) == ["mobilenetv1"]
    assert names(f"mobilenetv1@sha256:{base.digest}", base, variant) == ["mobilenetv1"]
    assert names("mobilenetv1:v3", base, variant) == []
