# SPDX-License-Identifier: MIT
"""What the commands do: the parts of the library joined into runs on a catalogue."""
