"""Files of photographs, whatever they are called and however they are stored, as upright RGB images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.decode import missing_extra

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held, and by its value how the image is to be turned."""
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


class BrokenImageError(Exception):
    """A file that is no image, or a damaged one; says why in a few words."""


def read_photograph(content: bytes) -> Image:
    """The first image of a file, RGB, upright: grey, palette, CMYK and 16 bits brought to 8 bits of RGB, what is
    transparent laid on white. BrokenImageError where there is none, or a part of one."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as failure:
        raise missing_extra(failure) from None
    try:
        with Image.open(io.BytesIO(content)) as image:
            read = _jpeg(content, image) or _rgb(image)
            turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))  # asked now: Pillow turns TIFFs as it loads them
            return read.transpose(Image.Transpose[turn]) if turn else read
    except UnidentifiedImageError:
        raise BrokenImageError("no image of a kind that Pillow reads") from None
    except BrokenImageError:
        raise
    except Exception as problem:  # damaged images raise anything at all
        raise BrokenImageError(f"{type(problem).__name__}: {problem}".replace("\n", " ")) from None


def _jpeg(content: bytes, image: Image) -> Image | None:
    """By the faster library, if it is there and finds a JPEG in colour or grey without any fault: Pillow knows which
    faults matter."""
    from PIL import Image as Images

    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return None
    try:
        import simplejpeg

        return Images.fromarray(simplejpeg.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False))
    except (ImportError, ValueError):
        return None


def _rgb(image: Image) -> Image:
    """The same with three channels of 8 bits."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits, also where Pillow keeps them in 32
        values = np.clip(np.asarray(image, np.int64), 0, 0xFFFF) >> 8
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise BrokenImageError("its pixels are real numbers, of which nobody says what is white")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


def square(image: Image, size: int) -> NDArray[np.uint8]:
    """The shorter side brought to `size` and the middle cut out: uint8 [size, size, channels]. Bicubic, as wide as the
    scale asks for, so that nothing aliases; only what is cut out is computed."""
    from PIL import Image

    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    return pixels.reshape(size, size, -1)
