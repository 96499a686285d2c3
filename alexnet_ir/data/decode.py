"""Images as they are stored: encoded once, decoded at every reading to the same pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.diagnostics import AlexnetError, error

JPEG, RAW = "jpeg", "raw"
QUALITY, SUBSAMPLING = 90, "420"
ENCODINGS = {JPEG: f"quality {QUALITY}, colours 4:2:0", RAW: "bytes, channels last"}
"""Of each codec, what it makes of pixels."""


def missing_extra(failure: ImportError) -> AlexnetError:
    """The error where the libraries that decode images are not installed."""
    message = f"images are read and resized by {failure.name}, which is not installed"
    return error(message, helps=('pip install "alexnet-ir[images]"',))


def encode_stored(codec: str, pixels: NDArray[np.uint8]) -> bytes:
    """uint8 [rows, columns, channels] as `jpeg` or `raw`."""
    if codec == RAW:
        return pixels.tobytes()
    try:
        import simplejpeg
    except ImportError as failure:
        raise missing_extra(failure) from None
    space, subsampling = ("RGB", SUBSAMPLING) if pixels.shape[2] == 3 else ("GRAY", "Gray")
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), QUALITY, space, colorsubsampling=subsampling, fastdct=False
    )
    return encoded


def decode_stored(codec: str, encoded: bytes | memoryview, pixels: NDArray[np.uint8]) -> None:
    """Into uint8 [rows, columns, channels], without a copy where that is C-contiguous. ValueError where the bytes are
    not such an image. Accurate transforms and smooth colours: what is faster loses more than it gains."""
    if codec == RAW:
        pixels[...] = np.frombuffer(encoded, np.uint8).reshape(pixels.shape)
        return
    try:
        import simplejpeg
    except ImportError as failure:
        raise missing_extra(failure) from None
    options: dict[str, Any] = {
        "colorspace": "RGB" if pixels.shape[2] == 3 else "GRAY",
        "fastdct": False,
        "fastupsample": False,
    }
    if pixels.flags.c_contiguous:
        decoded = simplejpeg.decode_jpeg(encoded, buffer=pixels, **options)
    else:
        decoded = simplejpeg.decode_jpeg(encoded, **options)
        if decoded.shape == pixels.shape:
            pixels[...] = decoded
    if decoded.shape != pixels.shape:
        raise ValueError(f"expected an image of {pixels.shape}, found {decoded.shape}")
