# SPDX-License-Identifier: MIT
"""The same numbers on any number of cores."""

from threadpoolctl import threadpool_limits

one_thread = threadpool_limits.wrap(limits=1, user_api="blas")
"""Decorates what makes objects and what surveys see of them.

The last digit of a product of matrices depends on the number of threads of BLAS, and a
seed must always give the same bytes, in files and in streams.
"""
