# SPDX-License-Identifier: MIT
"""Training: one loop for every task, sharded, with exact resume."""
