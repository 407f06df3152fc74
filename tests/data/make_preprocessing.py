#!/usr/bin/env python3
"""Write data/golden_*.npy: what TensorFlow's and torchvision's preprocessing make of one picture.

    pip install tensorflow-cpu==2.12.1 && python3 make_preprocessing.py tensorflow
    pip install torchvision==0.26.0    && python3 make_preprocessing.py torchvision

All pixels are 0...255 and [H,W,3], float32, unless said otherwise.
"""

import pathlib
import sys

import numpy as np

DATA = pathlib.Path(__file__).resolve().parent / "data"
QUANTILES = [0.1, 0.25, 0.5, 0.75, 0.9]
DRAWS = 20000
BOXES = {"shrunk": (3, 5, 33, 41), "grown": (7, 20, 9, 13), "flat": (30, 1, 4, 55)}  # top left h w


def save(name, array):
    np.save(DATA / f"golden_{name}.npy", np.ascontiguousarray(array, dtype="f4"))


def picture():
    y, x = np.mgrid[0:40, 0:56]
    waves = [128 + 120 * np.sin(x / 3.0 + c + y / 9.0) * np.cos(y / (4.0 + c)) for c in range(3)]
    image = np.stack(waves, -1)
    image[:12, :17] = 220, 40, 90
    image[20:, 30:, 1] *= 0.5
    image[25:30, 10:20] = 77  # grey, for hue and saturation
    return image.clip(0, 255).astype("u1").astype("f4")


def save_draws(name, boxes):
    """Quantiles of area (a share of 375x500), aspect, and of the place in what is left, [4,5]."""
    top, left, height, width = np.asarray(boxes, dtype="f8").T
    area, aspect = height * width / (375 * 500), width / height
    rows = [area, aspect, (top / np.maximum(375 - height, 1))[height < 300],
            (left / np.maximum(500 - width, 1))[width < 400]]
    save(name, [np.quantile(row, QUANTILES) for row in rows])


def tensorflow():
    import tensorflow as tf

    image = picture()
    save("picture", image)
    resize = tf.compat.v1.image.resize_bilinear  # align_corners=False, as slim calls it

    # vgg_preprocessing at evaluation: 20 out of a short side of 24; means are taken.
    whole = resize(image[None], [24, 34])[0].numpy()
    save("vgg", whole[2:22, 7:27] - np.float32([123.68, 116.78, 103.94]))
    # inception_preprocessing at evaluation.
    middle = tf.image.central_crop(tf.constant(image / 255), central_fraction=0.875)
    save("inception", (resize(middle[None], [20, 20])[0].numpy() - 0.5) * 2)
    for name, (top, left, height, width) in BOXES.items():
        box = image[top : top + height, left : left + width]
        save(f"box_{name}", resize(box[None], [20, 20])[0].numpy())

    unit = tf.constant(image[:20, 10:30] / 255)
    bright = tf.image.adjust_brightness(unit, 0.1)
    save("tf_brightness", 255 * bright.numpy())
    save("tf_contrast", 255 * tf.image.adjust_contrast(unit, 1.4).numpy())
    save("tf_saturation", 255 * tf.image.adjust_saturation(unit, 0.6).numpy())
    save("tf_more_saturation", 255 * tf.image.adjust_saturation(bright, 1.5).numpy())
    save("tf_hue", 255 * tf.image.adjust_hue(unit, 0.17).numpy())
    save("tf_hue_back", 255 * tf.image.adjust_hue(bright, -0.2).numpy())

    boxes = []
    tf.random.set_seed(1)
    whole_image = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    for i in range(DRAWS):
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            [375, 500, 3], whole_image, seed=i + 1, min_object_covered=0.1,
            aspect_ratio_range=(0.75, 1.33), area_range=(0.05, 1.0), max_attempts=100)
        boxes.append([*begin.numpy()[:2], *size.numpy()[:2]])
    save_draws("tf_boxes", boxes)


def torchvision():
    import torch
    import torchvision.transforms as transforms
    import torchvision.transforms.functional as functional

    torch.manual_seed(1)
    image = torch.from_numpy(picture()).permute(2, 0, 1)
    save_chw = lambda name, chw: save(name, chw.permute(1, 2, 0).numpy())
    evaluation = transforms.Compose([
        transforms.Resize(25, antialias=True), transforms.CenterCrop(20)])
    save_chw("tv_evaluation", evaluation(image))
    for name, (top, left, height, width) in BOXES.items():
        save_chw(f"tv_box_{name}", functional.resized_crop(
            image, top, left, height, width, [20, 20], antialias=True))

    unit = image[:, :20, 10:30] / 255
    save_chw("tv_brightness", 255 * functional.adjust_brightness(unit, 1.4))
    save_chw("tv_contrast", 255 * functional.adjust_contrast(unit, 1.3))
    save_chw("tv_saturation", 255 * functional.adjust_saturation(unit, 1.6))
    save_chw("tv_hue", 255 * functional.adjust_hue(unit, -0.3))

    blank = torch.zeros(3, 375, 500)
    boxes = [transforms.RandomResizedCrop.get_params(blank, (0.08, 1.0), (3 / 4, 4 / 3))
             for _ in range(DRAWS)]
    save_draws("tv_boxes", boxes)


{"tensorflow": tensorflow, "torchvision": torchvision}[sys.argv[1]]()
