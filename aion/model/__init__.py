# SPDX-License-Identifier: MIT
"""The transformer: embeddings, attention, blocks, heads, and how a model is stored."""
