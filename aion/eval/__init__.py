# SPDX-License-Identifier: MIT
"""How good a model's answers are: predictions, scores with errors, baselines, plots."""
