# SPDX-License-Identifier: MIT
"""Asking a model: draws of tokens by a scheme, and posteriors as tables."""
