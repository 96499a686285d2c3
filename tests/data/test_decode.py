"""Photographs of every kind, and what is stored of them."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from alexnet_ir.data.decode import decode_stored, encode_stored
from alexnet_ir.data.photograph import BrokenImageError, read_photograph, square
from alexnet_ir.diagnostics import AlexnetError

ROWS, COLUMNS = np.mgrid[0:40, 0:60]
PICTURE = np.stack([4 * COLUMNS, 6 * ROWS, 200 - 2 * COLUMNS], axis=2).astype(np.uint8)
"""uint8 [40, 60, 3], smooth, no side like another."""


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(content: bytes) -> NDArray[np.int64]:
    image = read_photograph(content)
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int64)


def difference(content: bytes, expected: NDArray[Any] = PICTURE) -> float:
    found = read(content)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


RGB = Image.fromarray(PICTURE)
GREY = np.asarray(RGB.convert("L"))
GREY3 = np.repeat(GREY[:, :, None], 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG"])
def test_kinds(kind: str) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}.get(kind, {})
    assert difference(encoded(RGB, kind, **options)) <= (8 if kind == "JPEG" else 0)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 2}, {"optimize": True}])
def test_jpegs(options: dict[str, Any]) -> None:
    assert difference(encoded(RGB, "JPEG", quality=98, **options)) <= 12


def test_cmyk_as_photoshop_stores_it() -> None:
    """Pillow writes it inverted, as Adobe does, and says so; the colours must not come out as a negative."""
    assert difference(encoded(RGB.convert("CMYK"), "JPEG", quality=98)) <= 12


def test_grey_and_bilevel() -> None:
    assert difference(encoded(RGB.convert("L"), "PNG"), GREY3) == 0
    assert difference(encoded(RGB.convert("L"), "JPEG", quality=98), GREY3) <= 4
    bits = GREY > 100
    assert difference(encoded(Image.fromarray(bits), "PNG"), np.repeat(255 * bits[:, :, None], 3, axis=2)) == 0


def test_palette() -> None:
    image = RGB.quantize(256)
    expected = np.asarray(image.convert("RGB"))
    assert difference(encoded(image, "PNG"), expected) == 0
    assert difference(encoded(image, "GIF"), expected) == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(mode: str) -> None:
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, 30:] = 255
    image = Image.fromarray(np.dstack([PICTURE, alpha]))
    if mode == "P":
        image = RGB.quantize(8)
        content = encoded(image, "PNG", transparency=image.getpixel((0, 0)))
        found, clear = read(content), np.asarray(image) == image.getpixel((0, 0))
    else:
        found, clear = read(encoded(image.convert(mode), "PNG")), alpha == 0
    assert (found[clear] == 255).all()
    expected = {"RGBA": PICTURE, "LA": GREY3, "P": np.asarray(image.convert("RGB"))}[mode]
    np.testing.assert_array_equal(found[~clear], expected[~clear])


def test_sixteen_bits() -> None:
    deep = GREY.astype(np.uint16) * 257
    assert difference(encoded(Image.fromarray(deep), "PNG"), GREY3) == 0
    assert difference(encoded(Image.fromarray(deep), "TIFF"), GREY3) == 0


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_turns_it_upright(orientation: int, kind: str) -> None:
    """What the camera wrote, turned as the EXIF standard says: where row 0 and column 0 of it are to be."""
    stored = {
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: PICTURE.transpose(1, 0, 2)[::-1],
        7: PICTURE.transpose(1, 0, 2)[::-1, ::-1],
        8: PICTURE.transpose(1, 0, 2)[:, ::-1],
    }.get(orientation, PICTURE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif.tobytes(), **options)
    assert difference(content) <= 8


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_is_of_no_matter() -> None:
    assert difference(encoded(RGB, "JPEG", quality=98, subsampling=0, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")) <= 8


def test_faults_that_do_not_matter() -> None:
    """Bytes behind the end, and between segments: some of ImageNet's have them, and libjpeg warns."""
    content = encoded(RGB, "JPEG", quality=98, subsampling=0)
    assert difference(content + b"rest") <= 8
    begin = content.index(b"\xff\xda")
    assert difference(content[:begin] + b"\0\0" + content[begin:]) <= 8


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no image"),
        (b"GIF89a is how this text begins", "no image|Error"),
        (b"<html>404</html>", "no image"),
        (encoded(RGB, "JPEG")[:-300], "(?i)truncated"),
        (encoded(RGB, "PNG")[:-40], "truncated|Error"),
        (encoded(RGB, "JPEG")[:200], "(?i)truncated"),
        (encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "real numbers"),
    ],
)
def test_broken(content: bytes, reason: str) -> None:
    with pytest.raises(BrokenImageError, match=reason) as caught:
        read_photograph(content)
    assert "0x" not in str(caught.value), "an address differs from run to run"


def test_square_is_the_middle_at_the_size() -> None:
    wide = square(RGB, 40)
    np.testing.assert_array_equal(wide, PICTURE[:, 10:50])
    tall = square(RGB.transpose(Image.Transpose.TRANSPOSE), 40)
    np.testing.assert_array_equal(tall, PICTURE.transpose(1, 0, 2)[10:50])


@pytest.mark.parametrize("size", [12, 20, 36, 64])
def test_square_is_resized_and_then_cut_out(size: int) -> None:
    whole = RGB.resize((size * 3 // 2, size), Image.Resampling.BICUBIC)
    left = (whole.width - size) // 2
    expected = np.asarray(whole)[:, left : left + size].astype(int)
    assert np.abs(square(RGB, size).astype(int) - expected).max() <= 1


def test_nothing_aliases() -> None:
    """Of a board of black and white pixels an antialiased image is grey."""
    board = Image.fromarray(((np.add.outer(np.arange(90), np.arange(120)) % 2) * 255).astype(np.uint8))
    assert np.abs(square(board, 13).astype(int) - 127).max() <= 6


@pytest.mark.parametrize("channels", [1, 3])
def test_stored_jpeg_and_raw(channels: int) -> None:
    pixels = np.ascontiguousarray(PICTURE[:, :, :channels])
    for codec, most in (("raw", 0), ("jpeg", 12)):
        content = encode_stored(codec, pixels)
        assert content == encode_stored(codec, pixels[:, :, ::-1][:, :, ::-1])
        out = np.empty_like(pixels)
        decode_stored(codec, content, out)
        assert np.abs(out.astype(int) - pixels).max() <= most
        with pytest.raises(ValueError, match=r"\d"):
            decode_stored(codec, content, np.empty((30, 60, channels), np.uint8))
        with pytest.raises(ValueError, match=r"\d"):
            decode_stored(codec, content, np.empty((60, 60, channels), np.uint8))
    assert Image.open(io.BytesIO(content)).quantization[0][0] <= 3, "quality 90 divides by 3 or less"


def test_libraries_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow reads JPEGs too; what is stored as JPEG needs simplejpeg, and raw images need nothing."""
    content = encoded(RGB, "JPEG", quality=98, subsampling=0)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert difference(content) <= 8
    for missing in (lambda: encode_stored("jpeg", PICTURE), lambda: decode_stored("jpeg", content, PICTURE.copy())):
        with pytest.raises(AlexnetError, match=r"simplejpeg, which is not installed(.|\n)*alexnet-ir\[images\]"):
            missing()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(AlexnetError, match="PIL, which is not installed"):
        read_photograph(content)
    decode_stored("raw", encode_stored("raw", PICTURE), PICTURE.copy())
