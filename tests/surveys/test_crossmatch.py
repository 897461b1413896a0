# SPDX-License-Identifier: MIT
"""Cross-matching against brute force, astropy and a slow second implementation."""

import json

import astropy.units as u
import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord, match_coordinates_sky, search_around_sky
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.surveys.toy_positions import ARCSEC, borders, run, scattered, survey

from aion.errors import ConfigError
from aion.surveys import runs
from aion.surveys.matching import Rules, match_positions
from aion.surveys.positions import Positions


def members(table, names):
    """Ids of the objects as a set of tuples."""
    columns = [table[f"{name}_id"].to_pylist() for name in names]
    return set(zip(*columns, strict=True))


def in_memory(surveys, **rest):
    """The same set by `match_positions`."""
    rules, objects = match_positions(surveys, **rest)
    columns = []
    for s, name in enumerate(rules.surveys):
        ids, rows = surveys[name].object_id, objects.rows[:, s]
        columns.append([None if r < 0 else str(ids[r]) for r in rows])
    return rules.surveys, set(zip(*columns, strict=True))


# --- against other implementations -------------------------------------------------


@pytest.fixture(scope="module")
def hard():
    """Two surveys of 40,000 and 35,000 entries that lie on borders of all kinds."""
    ra, dec = borders(40_000)
    other = scattered(ra[5000:], dec[5000:], 0.4, 1)
    return {"one": survey(ra, dec), "two": survey(*other, "t", 2)}


def astropy_mutual(one, other, radius):
    """Mutual nearest neighbours within a radius by astropy, as a set of ids."""
    a, b = (SkyCoord(p.ra, p.dec, unit="deg") for p in (one, other))
    forth, gap, _ = match_coordinates_sky(a, b)
    back, _, _ = match_coordinates_sky(b, a)
    rows = np.flatnonzero(
        (back[forth] == np.arange(len(one))) & (gap <= radius * u.arcsec)
    )
    ids = zip(one.object_id[rows], other.object_id[forth[rows]], strict=True)
    return {(str(i), str(j)) for i, j in ids}


def test_no_pair_is_lost_on_borders_and_all_are_those_of_astropy(hard, tmp_path):
    table = run(hard, tmp_path / "out", pieces=7)
    found = members(table, hard)
    pairs = {pair for pair in found if None not in pair}
    assert pairs == astropy_mutual(hard["one"], hard["two"], 1.0)
    assert len(pairs) > 20_000
    assert in_memory(hard) == (tuple(hard), found)
    for name, positions in hard.items():
        ids = table[f"{name}_id"].drop_null().to_pylist()
        assert sorted(ids) == sorted(map(str, positions.object_id))


def test_separations_and_duplicates_are_those_of_astropy(hard, tmp_path):
    table = run(hard, tmp_path / "out").to_pandas()
    one, two = (SkyCoord(p.ra, p.dec, unit="deg") for p in hard.values())
    place = [{str(i): k for k, i in enumerate(p.object_id)} for p in hard.values()]
    both = table[table.one_id.notna() & table.two_id.notna()]
    a = one[[place[0][i] for i in both.one_id]]
    b = two[[place[1][i] for i in both.two_id]]
    np.testing.assert_allclose(
        both.two_separation, a.separation(b).arcsec, atol=2e-8, rtol=1e-8
    )
    assert (both.one_separation == 0).all()
    left, right, _, _ = search_around_sky(one, two, 1 * u.arcsec)
    owner = [
        dict(zip(table[f"{n}_id"], table.index, strict=True)) for n in ("one", "two")
    ]
    flagged = set()
    for i, j in zip(left, right, strict=True):
        p = owner[0][str(hard["one"].object_id[i])]
        q = owner[1][str(hard["two"].object_id[j])]
        flagged |= {p, q} if p != q else set()
    assert set(np.flatnonzero(table.duplicate)) == flagged
    assert len(flagged) > 100


def slow_objects(surveys, radius):
    """The rules of `aion.surveys.matching` in plain loops, pairs by astropy."""
    names = list(surveys)
    places = [SkyCoord(p.ra, p.dec, unit="deg") for p in surveys.values()]
    ids = [list(map(str, p.object_id)) for p in surveys.values()]
    objects = [[(s, i)] for s in range(len(names)) for i in range(len(ids[s]))]
    of = {entries[0]: entries for entries in objects}
    for t in range(len(names)):
        for s in range(t):
            near = search_around_sky(places[s], places[t], radius * u.arcsec)
            gaps: dict = {}
            for i, j, gap in zip(near[0], near[1], near[2].arcsec, strict=True):
                gaps.setdefault((s, i), []).append((gap, ids[t][j], (t, j)))
                gaps.setdefault((t, j), []).append((gap, ids[s][i], (s, i)))
            for entry in list(gaps):
                best = min(gaps[entry])[2]
                if entry[0] != s or min(gaps[best])[2] != entry:
                    continue
                taken = {survey for survey, _ in of[entry]}
                if t not in taken and len(of[best]) == 1:
                    of[entry] += of[best]
                    of[best] = of[entry]
    found = set()
    for entries in of.values():
        row = dict(entries)
        found.add(
            tuple(ids[s][row[s]] if s in row else None for s in range(len(names)))
        )
    return found


def crowd(count, surveys, sigma, seed):
    """Entries of several surveys so crowded that chains and conflicts are common."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.normal(10, 12 * ARCSEC, count), rng.normal(-45, 12 * ARCSEC, count)
    found = {}
    for number in range(surveys):
        keep = rng.random(count) < 0.8
        place = scattered(ra[keep] % 360, dec[keep], sigma, seed + number)
        found[f"s{number}"] = survey(*place, "abcde"[number], seed)
    return found


@given(
    count=st.integers(2, 60),
    surveys=st.integers(2, 5),
    sigma=st.floats(0.1, 2.0),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_objects_of_many_surveys_are_those_of_plain_loops(count, surveys, sigma, seed):
    found = crowd(count, surveys, sigma, seed)
    assert in_memory(found)[1] == slow_objects(found, 1.0)


# --- properties --------------------------------------------------------------------


@given(seed=st.integers(0, 1000), surveys=st.integers(2, 4), data=st.data())
@settings(max_examples=5)
def test_order_of_rows_and_partitions_change_nothing(
    seed, surveys, data, tmp_path_factory
):
    found = crowd(50, surveys, 0.5, seed)
    # Equal places and equal distances: the choice must not follow the order of rows.
    for positions in found.values():
        positions.ra[::7], positions.dec[::7] = 10.0, -45.0
    tables = []
    for _ in range(2):
        order = np.random.default_rng(data.draw(st.integers(0, 99)))
        mixed = {n: p.take(order.permutation(len(p))) for n, p in found.items()}
        pieces = data.draw(st.integers(1, 9))
        table = run(mixed, tmp_path_factory.mktemp("match") / "out", pieces)
        kept = [n for n in table.column_names if not n.endswith("_partition")]
        tables.append(table.select(kept).to_pylist())
    assert json.dumps(tables[0]) == json.dumps(tables[1])


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_two_surveys_may_be_swapped(seed):
    found = crowd(60, 2, 0.7, seed)
    for positions in found.values():
        positions.ra[::5], positions.dec[::5] = 10.0, -45.0
    swapped = dict(reversed(found.items()))
    assert in_memory(found)[0] == ("s0", "s1")
    assert in_memory(swapped)[0] == ("s1", "s0")
    assert in_memory(found)[1] == {(a, b) for b, a in in_memory(swapped)[1]}


def test_parts_and_runs_of_any_size_and_two_processes_give_the_same(
    hard, tmp_path, monkeypatch
):
    some = {n: p.take(slice(0, 6000)) for n, p in hard.items()}
    three = some | {"three": some["two"].take(slice(0, 4000))}
    three["three"] = Positions(
        np.char.add("u", three["three"].object_id),
        *scattered(three["three"].ra, three["three"].dec, 0.3, 5),
    )
    whole = run(three, tmp_path / "whole")
    assert len(list((tmp_path / "whole").glob("objects-*"))) == 1
    twice = run(three, tmp_path / "twice", workers=2)
    assert whole.equals(twice)
    assert members(whole, three) == in_memory(three)[1]
    monkeypatch.setattr(runs, "RUN_ROWS", 700)
    small = run(three, tmp_path / "small", part_rows=300)
    assert len(list((tmp_path / "small").glob("objects-*"))) > 20
    assert members(small, three) == members(whole, three)
    flags = [dict(zip(*t.select(["object_id", "duplicate"]).to_pydict().values(),
                      strict=True)) for t in (whole, small)]  # fmt: skip
    assert flags[0] == flags[1]


def test_the_pixels_around_a_pixel_hold_all_within_half_its_size():
    rng = np.random.default_rng(0)
    order, size = 6, np.sqrt(4 * np.pi / (12 * 4**6))
    ra = rng.uniform(0, 360, 200_000)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, len(ra))))
    dec[:20_000] = 90 - 10.0 ** rng.uniform(-3, 0.5, 20_000)
    far = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, len(ra)) * u.deg, 0.6 * size * u.rad
    )
    pixel = runs.pixels_of(ra, dec, order)
    other = runs.pixels_of(np.asarray(far.ra.deg), np.asarray(far.dec.deg), order)
    around = healpy.get_all_neighbours(2**order, pixel, nest=True)
    assert ((around == other).any(axis=0) | (pixel == other)).all()


def test_radii_differ_by_pair(tmp_path):
    at = np.array([0.0, 1.5 * ARCSEC])
    surveys = {
        n: Positions(np.array([k]), np.array([30.0]), at[min(k, 1) :][:1])
        for k, n in enumerate(("gaia", "sdss", "desi"))
    }
    surveys = {n: Positions(p.object_id, p.ra, p.dec) for n, p in surveys.items()}
    radius = {("sdss", "gaia"): 1.0, "desi-gaia": 2.0, ("sdss", "desi"): 1.0}
    # DESI links to Gaia; SDSS, too far from Gaia, is not joined through DESI.
    assert in_memory(surveys, radius=radius)[1] == {
        ("0", None, "2"),
        (None, "1", None),
    }
    with pytest.raises(ConfigError, match="radius of gaia and desi is None"):
        Rules.of(tuple(surveys), {("gaia", "sdss"): 1.0, ("sdss", "desi"): 1.0})


# --- stars that move ----------------------------------------------------------------


def test_stars_are_found_where_they_were_even_far_across_borders(tmp_path):
    """Fast stars beside a chance neighbour at their present place, on cell borders."""
    rng = np.random.default_rng(3)
    ra, dec = borders(3000, seed=4)
    keep = np.abs(dec) < 89.9
    ra, dec = ra[keep], dec[keep]
    speed = 10 ** rng.uniform(1, 4, len(ra))
    angle = rng.uniform(0, 2 * np.pi, len(ra))
    motion = {"pm_ra": speed * np.cos(angle), "pm_dec": speed * np.sin(angle)}
    gaia = survey(ra, dec, **motion)
    gaia.pm_ra[:5] = gaia.pm_dec[:5] = np.nan
    then = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=motion["pm_ra"] * u.mas / u.yr,
        pm_dec=motion["pm_dec"] * u.mas / u.yr,
        distance=1000 / speed * u.pc,
    ).apply_space_motion(dt=-13 * u.yr)
    sdss = survey(np.asarray(then.ra.deg) % 360, np.asarray(then.dec.deg), "s", 1)
    legacy = survey(*scattered(ra, dec, 0.1, 6), "l", 2)
    surveys = {"sdss": sdss, "gaia": gaia, "legacy": legacy}
    found = in_memory(surveys)
    matched = [row for row in found[1] if row[0] and row[2]]
    right = sum(row[0] == row[2][1:] for row in matched)
    assert right > 0.98 * len(ra) and right > 0.99 * len(matched)
    table = run(surveys, tmp_path / "out", part_rows=200)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["fast_stars"] > 1000 and report["parts"] > 20
    assert members(table, found[0]) == found[1]
