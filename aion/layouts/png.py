# SPDX-License-Identifier: MIT
"""PNG pictures of eight bits, grey or RGB, without an imaging library.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C 2025. HATS
collections hold maps and colour pictures as PNG bytes.
"""

import struct
import zlib

import numpy as np
from jaxtyping import UInt8

from aion.errors import DataError

_START = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 6: 4, 4: 2}


def encode_png(picture: UInt8[np.ndarray, "..."]) -> bytes:
    """A picture [y, x] or [y, x, 3] as PNG; the same picture gives the same bytes."""
    height, width = picture.shape[:2]
    colour = 2 if picture.ndim == 3 else 0
    rows = np.ascontiguousarray(picture, np.uint8).reshape(height, -1)
    plain = np.pad(rows, ((0, 0), (1, 0))).tobytes()  # filter 0 before each row
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(plain, 6)), (b"IEND", b""))
    return _START + b"".join(
        struct.pack(">I", len(body))
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def decode_png(content: bytes) -> UInt8[np.ndarray, "..."]:
    """The picture in PNG bytes, [y, x] or [y, x, channels].

    Raises:
        DataError: not PNG, truncated, interlaced, with a palette or 16 bits.
    """
    try:
        return _decoded(content)
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise DataError(
            f"broken PNG: {error}", "It may be truncated; fetch the file again."
        ) from None


def _decoded(content: bytes) -> np.ndarray:
    if content[:8] != _START:
        raise ValueError("no PNG signature")
    place, body, head = 8, b"", None
    while place < len(content):
        (size,) = struct.unpack_from(">I", content, place)
        name, data = content[place + 4 : place + 8], content[place + 8 :][:size]
        if name == b"IHDR":
            head = struct.unpack(">IIBBBBB", data)
        body += data if name == b"IDAT" else b""
        place += 12 + size
    if head is None:
        raise ValueError("no header")
    width, height, depth, colour, _, _, interlaced = head
    if depth != 8 or interlaced or colour not in _CHANNELS:
        raise ValueError(f"{depth} bits, colour type {colour}, interlace {interlaced}")
    channels = _CHANNELS[colour]
    lines = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)
    rows = np.zeros((height + 1, width * channels), np.uint8)
    for number, line in enumerate(lines):
        rows[number + 1] = _unfiltered(int(line[0]), line[1:], rows[number], channels)
    picture = rows[1:].reshape(height, width, channels)
    return picture[..., 0] if channels == 1 else picture


def _unfiltered(
    kind: int, line: np.ndarray, above: np.ndarray, channels: int
) -> np.ndarray:
    """A line with its filter undone (section 9 of the specification)."""
    if kind == 0:
        return line
    if kind == 1:
        steps = line.reshape(-1, channels).astype(np.int64)
        return (np.cumsum(steps, axis=0) % 256).astype(np.uint8).ravel()
    if kind == 2:
        return line + above
    if kind not in (3, 4):
        raise ValueError(f"filter {kind}")
    up, found = above.tolist(), line.tolist()
    for n, value in enumerate(found):
        left = found[n - channels] if n >= channels else 0
        corner = up[n - channels] if n >= channels else 0
        if kind == 3:
            guess = (left + up[n]) // 2
        else:
            guess = _paeth(left, up[n], corner)
        found[n] = (value + guess) % 256
    return np.array(found, np.uint8)


def _paeth(left: int, up: int, corner: int) -> int:
    start = left + up - corner
    far = (abs(start - left), abs(start - up), abs(start - corner))
    return (left, up, corner)[far.index(min(far))]
