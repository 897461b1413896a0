# SPDX-License-Identifier: MIT
"""Positions from catalogue files: ids, motions and their units."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aion.errors import DataError
from aion.surveys.positions import PositionSource, TablePositions, plain_ids


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".fits", ".ecsv"])
def test_a_catalogue_file_is_a_source(tmp_path, ending):
    from astropy.table import Table

    path = Path(tmp_path / f"stars{ending}")
    columns = {
        "plate": [266, 267, 268],
        "fiber": [1, 2, 3],
        "ra": [1.0, 2.0, 3.0],
        "dec": [-1.0, np.nan, 1.0],
        "pmra": [5.0, np.nan, 7.0],
        "pmdec": [0.1, 0.2, 0.3],
    }
    if ending == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        table = Table(columns)
        if ending == ".ecsv":
            table["pmra"] = (table["pmra"] / 1000) * u.arcsec / u.yr
        table.write(path)
    source = TablePositions(
        path, ("plate", "fiber"), pm_ra="pmra", pm_dec="pmdec", rows_per_partition=2
    )
    assert isinstance(source, PositionSource)
    found = [source.positions(p) for p in source.partitions()]
    assert np.concatenate([p.object_id for p in found]).tolist() == [
        "266-1",
        "267-2",
        "268-3",
    ]
    motion = [np.asarray(p.pm_ra) for p in found]
    np.testing.assert_allclose(np.concatenate(motion), columns["pmra"])
    with pytest.raises(DataError, match="no column 'name'"):
        TablePositions(path, ("name",))


def test_ids_are_plain_whatever_the_way_they_are_written():
    written = np.array(["b'0001m002-4'", " 299567 ", 'b"x"', "b", "bad"])
    assert plain_ids(written).tolist() == ["0001m002-4", "299567", "x", "b", "bad"]
    assert plain_ids(np.array([b"  12 ", b"3"])).tolist() == ["12", "3"]
    assert plain_ids(np.array([2, 3], ">i8")).dtype == np.int64
    assert plain_ids(np.array([2**64 - 1], np.uint64)).tolist() == [str(2**64 - 1)]
