# SPDX-License-Identifier: MIT
"""The token space: numberings that follow from rows, JSON form, comparison."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.errors import ArtefactError, TokenSpaceError
from aion.modality import Kind, Modality
from aion.tokenspace import TILE, TokenSpace, TokenSpec

# codes, codes more in the vocabulary, grid, width of the features, coarse to fine
row = st.tuples(
    st.integers(1, 1100),
    st.integers(0, 3),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from([0, 3, 7]),
    st.booleans(),
)
rows = st.lists(row, min_size=1, max_size=6)


def space_of(drawn):
    specs = []
    for number, (codes, more, grid, width, refines) in enumerate(drawn):
        features = np.full((codes + more, width), number + 1, np.float32)
        specs.append(
            TokenSpec(
                Modality(f"m{number}", "toy", Kind.SCALAR),
                f"codec{number}",
                codes,
                codes + more,
                tuple(grid),
                ranges=((0, codes),),
                coarse_to_fine=refines,
                code_features=features if width else None,
            )
        )
    return TokenSpace(tuple(specs))


def toy(**changes):
    row = {"codec": "c", "num_codes": 320, "vocabulary": 320, "grid": (2,)}
    row |= {"ranges": ((0, 256), (256, 320)), "coarse_to_fine": True}
    return TokenSpec(Modality("redshift", "any", Kind.SCALAR), **(row | changes))


def other(name="mag_u", codes=1024):
    return TokenSpec(Modality(name, "own", Kind.SCALAR, (), "mag"), "d", codes, codes)


@given(rows)
def test_json_round_trip(drawn):
    space = space_of(drawn)
    again = TokenSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert again.digest == space.digest


def test_file_round_trip(tmp_path):
    space = TokenSpace((toy(), other()))
    space.save(tmp_path / "space.json")
    assert TokenSpace.load(tmp_path / "space.json") == space


@given(rows)
def test_offsets_number_every_place_once(drawn):
    space = space_of(drawn)
    slots = [(m, p) for m, s in enumerate(space) for p in range(s.num_tokens)]
    assert space.num_slots == len(slots)
    pairs = zip(space.slot_modality.tolist(), space.slot_position.tolist(), strict=True)
    assert list(pairs) == slots
    for row, spec in enumerate(space):
        assert space.slot_offsets[row + 1] - space.slot_offsets[row] == spec.num_tokens
        room = space.code_offsets[row + 1] - space.code_offsets[row]
        assert room % TILE == 0
        assert spec.vocabulary <= room < spec.vocabulary + TILE
    assert space.slot_ranges.shape == (len(slots), 2)
    assert space.slot_offsets.dtype == space.code_offsets.dtype == np.int32


@given(rows)
def test_features_stand_at_their_rows_and_nowhere_else(drawn):
    space = space_of(drawn)
    packed = space.code_features()
    assert packed.dtype == np.float32 and len(packed) == space.num_rows
    for row, spec in enumerate(space):
        part = packed[space.code_offsets[row] : space.code_offsets[row + 1]]
        own = spec.code_features
        width = 0 if own is None else own.shape[1]
        assert np.all(part[: spec.vocabulary, :width] == row + 1)
        assert not part[spec.vocabulary :].any() and not part[:, width:].any()


def test_slot_ranges_per_slot():
    assert toy().slot_ranges.tolist() == [[0, 256], [256, 320]]
    assert other().slot_ranges.tolist() == [[0, 1024]]


def test_lookup_by_name():
    space = TokenSpace((toy(), other()))
    assert space.names == ("redshift", "mag_u") and "mag_u" in space
    assert space["mag_u"] is space.specs[space.index("mag_u")]
    with pytest.raises(TokenSpaceError, match=r"mag_g.*redshift, mag_u"):
        space.index("mag_g")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"num_codes": 320, "vocabulary": 321}, "vocabulary"),
        ({"codec": "other"}, "codec"),
        ({"coarse_to_fine": False}, "coarse_to_fine"),
        ({"ranges": ((0, 256), (255, 320))}, "ranges"),
        ({"grid": (2, 1)}, "grid"),
    ],
)
def test_check_same_names_row_and_field(changes, field):
    mine, theirs = TokenSpace((other(), toy())), TokenSpace((other(), toy(**changes)))
    with pytest.raises(TokenSpaceError) as caught:
        mine.check_same(theirs, "the model", "the shards")
    message = str(caught.value)
    assert f"row 1 (redshift) of the token space differs in {field}" in message
    assert "in the model" in message and "in the shards" in message
    assert "\n" not in message


def test_check_same_counts_rows():
    one, two = TokenSpace((toy(),)), TokenSpace((toy(), other()))
    one.check_same(TokenSpace((toy(),)), "a", "b")
    with pytest.raises(TokenSpaceError, match=r"b has a row more: mag_u"):
        one.check_same(two, "a", "b")
    with pytest.raises(TokenSpaceError, match=r"b has no row 1 \(mag_u\)"):
        two.check_same(one, "a", "b")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_codes": 0},
        {"vocabulary": 319},
        {"ranges": ((0, 1), (1, 2), (2, 3))},
        {"ranges": ((0, 256), (256, 321))},
        {"ranges": ((5, 5), (256, 320))},
    ],
)
def test_rows_that_cannot_be(changes):
    with pytest.raises(TokenSpaceError, match="redshift"):
        toy(**changes)


def test_doubled_or_no_rows():
    with pytest.raises(TokenSpaceError, match=r"redshift.*twice"):
        TokenSpace((toy(), toy()))
    with pytest.raises(TokenSpaceError, match="no modality"):
        TokenSpace(())


def test_other_formats_are_refused():
    data = TokenSpace((toy(),)).to_dict()
    with pytest.raises(ArtefactError, match="version 2"):
        TokenSpace.from_dict(data | {"version": 2})
    with pytest.raises(ArtefactError, match="not a token space"):
        TokenSpace.from_dict({"rows": data["rows"]})
