# SPDX-License-Identifier: MIT
"""Survey files as records: one reader per format, one record type for all."""
