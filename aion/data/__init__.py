# SPDX-License-Identifier: MIT
"""From token shards to training batches: splits, shards, masking, pipeline."""
