"""The grammar of references and names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from zoo.reference import NAME, TAG, Reference, check_name, check_tag, parse_reference

names = st.from_regex(NAME, fullmatch=True).filter(lambda text: len(text) <= 128)
tags = st.from_regex(TAG, fullmatch=True)
digests = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)


@given(name=names, remote=st.none() | names, tag=st.none() | tags)
def test_a_reference_survives_being_written(name: str, remote: str | None, tag: str | None) -> None:
    reference = Reference(name=name, remote=remote, tag=tag)
    assert parse_reference(str(reference)) == reference


@given(name=names, digest=digests)
def test_a_digest_reference_survives_being_written(name: str, digest: str) -> None:
    reference = Reference(name=name, digest=digest)
    assert parse_reference(str(reference)) == reference


@given(st.text())
def test_whatever_parses_is_one_plain_path_component(text: str) -> None:
    try:
        reference = parse_reference(text)
    except BadInput:
        return
    for part in (reference.name, reference.tag or "latest"):
        assert "/" not in part
        assert "\\" not in part
        assert part not in (".", "..")
        assert not part.startswith(("-", "."))
        assert part.isprintable()


@pytest.mark.parametrize(
    "name",
    ["mobilenetv1", "mobilenetv1-0.75x", "amc-mobilenetv1-0.5flops", "resnet56-cifar10", "mobilenetv1-prune50-quant"],
)
def test_names_of_the_field_are_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "text",
    ["", "A", "..", "../x", "a/../b", "/a", "a/", "a/b/c", "a b", "a\n", "a:", "a@sha256:12", "-a", "a-", "a..b",
     "a:b:c", "é", "a:.hidden", "x" * 129],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_reference(text)
    assert caught.value.hint


def test_a_newline_at_the_end_of_a_tag_is_refused() -> None:
    with pytest.raises(BadInput):
        check_tag("v1\n")
