# SPDX-License-Identifier: MIT
"""What every survey reader gives: see `aion.records`."""

from aion.records import Records, RecordSource

__all__ = ["RecordSource", "Records"]
