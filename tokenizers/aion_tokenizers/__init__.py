# SPDX-License-Identifier: MIT
"""The codecs of AION in JAX: how measurements become codes and codes measurements.

`aion.codec` finds these classes by a short word through its allow-list; nothing in
`aion` imports this package by itself.
"""
