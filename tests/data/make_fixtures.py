#!/usr/bin/env python3
"""Write the pictures in data/: PNGs bit by bit from a formula, JPEGs and WebPs by Pillow.

    pip install numpy Pillow && python3 make_fixtures.py
"""

import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

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


def expect(name, pixels):
    np.save(DATA / (name + ".npy"), np.asarray(pixels).astype("u1"))


def over_black(rgba):
    rgba = np.asarray(rgba).astype(int)
    return (rgba[..., :3] * rgba[..., 3:] + 127) // 255


def photo(height, width):
    """Smooth, with edges, no two quarters alike."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 90 * np.sin(x / 5 + c) * np.cos(y / (6 + c)) for c in range(3)]
    picture = np.stack(waves, -1)
    picture[: height // 3, : width // 4] = 220, 40, 90
    picture[height // 2 :, width // 2 :, 1] *= 0.5
    return Image.fromarray(picture.clip(0, 255).astype("u1"))


def write_webps():
    picture = photo(21, 34)
    alpha = picture.copy()
    alpha.putalpha(Image.fromarray((np.mgrid[0:21, 0:34].sum(0) * 4).astype("u1")))
    for name, image, options in (
        ("lossy.webp", picture, {"quality": 80}),
        ("lossless.webp", picture, {"lossless": True}),
        ("alpha.webp", alpha, {"lossless": True, "exact": True}),
        ("lossy_alpha.webp", alpha, {"quality": 70}),
    ):
        image.save(DATA / name, **options)
        read = Image.open(DATA / name)
        expect(name, over_black(read) if read.mode == "RGBA" else read)
    frames = [Image.new("RGB", (8, 8), (c, 0, 0)) for c in (0, 255)]
    frames[0].save(DATA / "animated.webp", save_all=True, append_images=frames[1:], lossless=True)


def write_orientations():
    """Each orientation as JPEG; 6 as PNG and WebP too; pixels are Pillow's, turned upright."""
    picture = photo(16, 24)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        names = [f"exif{orientation}.jpg"]
        names += ["exif6.png", "exif6.webp"] if orientation == 6 else []
        for name in names:
            options = {"lossless": True} if name.endswith("webp") else {"quality": 95}
            picture.save(DATA / name, exif=exif.tobytes(), **options)
            expect(name, ImageOps.exif_transpose(Image.open(DATA / name)))


def write_shrunken():
    """A JPEG as libjpeg decodes it at 1/2, 1/4 and 1/8 (Pillow's draft mode)."""
    photo(120, 168).save(DATA / "large.jpg", quality=90)
    for shrink in 1, 2, 4, 8:
        image = Image.open(DATA / "large.jpg")
        image.draft("RGB", (168 // shrink, 120 // shrink))
        assert image.size == (168 // shrink, 120 // shrink)
        expect(f"large.jpg.{shrink}", image)


DATA.mkdir(exist_ok=True)
write_pngs()
write_jpegs()
write_webps()
write_orientations()
write_shrunken()
