#!/usr/bin/env python3
"""Write the pictures in data/: PNGs bit by bit from a formula, JPEGs by Pillow.

    pip install numpy Pillow && python3 make_fixtures.py
"""

import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

DATA = pathlib.Path(__file__).resolve().parent / "data"
WIDTH, HEIGHT = 7, 5  # odd, and smaller than Adam7's 8x8

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1)]  # first row, first column, row step, column step


def value(y, x, c, depth):
    """The sample at row y, column x: test_image.c has the same formula."""
    return (37 * y + 11 * x + 71 * c) * (251 if depth == 16 else 1) % (1 << depth)


def pack_row(samples, depth):
    if depth == 16:
        return struct.pack(f">{len(samples)}H", *samples)
    bits = "".join(f"{sample:0{depth}b}" for sample in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(name, colour, depth, interlaced=False, extra=b""):
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    raw = b""
    for top, left, down, right in passes:
        columns = range(left, WIDTH, right)
        for y in range(top, HEIGHT, down):
            row = [value(y, x, c, depth) for x in columns for c in range(CHANNELS[colour])]
            raw += b"\0" + pack_row(row, depth) if row else b""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlaced)
    (DATA / name).write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
        + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def write_pngs():
    for depth in 1, 2, 4, 8, 16:
        write_png(f"grey{depth}.png", GREY, depth)
    for depth in 8, 16:
        write_png(f"rgb{depth}.png", RGB, depth)
        write_png(f"grey_alpha{depth}.png", GREY_ALPHA, depth)
        write_png(f"rgb_alpha{depth}.png", RGB_ALPHA, depth)
    write_png("rgb8_interlaced.png", RGB, 8, interlaced=True)
    write_png("grey1_interlaced.png", GREY, 1, interlaced=True)
    # Colour i is (i, 255-i, 7i); the first sixteen are transparent to the degree 16i.
    palette = bytes(b % 256 for i in range(256) for b in (i, 255 - i, 7 * i))
    write_png("palette8.png", PALETTE, 8, extra=chunk(b"PLTE", palette))
    write_png("palette4.png", PALETTE, 4, extra=chunk(b"PLTE", palette[:48])
              + chunk(b"tRNS", bytes(16 * i for i in range(16))))
    # Grey 11, at row 0 and column 1, is transparent. A gamma that is to be ignored.
    write_png("grey8_key.png", GREY, 8, extra=chunk(b"gAMA", struct.pack(">I", 100000))
              + chunk(b"tRNS", b"\0\x0b"))


def halves(mode, left, right):
    image = Image.new(mode, (32, 16), left)
    image.paste(right, (16, 0, 32, 16))
    return image


def without_adobe_marker(jpeg):
    at = jpeg.index(b"\xff\xee")
    length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    return jpeg[:at] + jpeg[at + 2 + length :]


def write_jpegs():
    options = {"quality": 95, "subsampling": 0}
    halves("L", 100, 220).save(DATA / "grey.jpg", **options)
    rgb = halves("RGB", (200, 30, 60), (10, 120, 240))
    rgb.save(DATA / "rgb.jpg", **options)
    rgb.save(DATA / "rgb_progressive.jpg", progressive=True, **options)
    # Ink of 0…255; Pillow marks it as Adobe's and stores it inverted, as Photoshop does.
    cmyk = halves("CMYK", (255, 0, 51, 51), (0, 102, 204, 0))
    cmyk.save(DATA / "cmyk_adobe.jpg", **options)
    # Without that marker what is stored is ink itself: stored inverted twice, it is right again.
    file = io.BytesIO()
    halves("CMYK", (0, 255, 204, 204), (255, 153, 51, 255)).save(file, "JPEG", **options)
    (DATA / "cmyk.jpg").write_bytes(without_adobe_marker(file.getvalue()))
    # A smooth picture, subsampled, with what Pillow decodes it to.
    y, x = np.mgrid[0:24, 0:40]
    smooth = np.stack([6 * x, 10 * y, 128 + 60 * np.sin(x / 6) * np.cos(y / 5)], -1)
    Image.fromarray(smooth.astype("u1")).save(DATA / "smooth.jpg", quality=85)
    np.save(DATA / "smooth.npy", np.asarray(Image.open(DATA / "smooth.jpg")))


DATA.mkdir(exist_ok=True)
write_pngs()
write_jpegs()
