# SPDX-License-Identifier: MIT
"""Synthetic universes with known truth."""
