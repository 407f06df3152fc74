#!/usr/bin/env python3
"""Write data/shards: TFRecords of tf.Example by TensorFlow, named and keyed as TF-slim does.

    pip install tensorflow-cpu==2.12.1 && python3 make_tfrecords.py      (after make_fixtures.py)
"""

import pathlib

import tensorflow as tf

DATA = pathlib.Path(__file__).resolve().parent / "data"
SHARDS = DATA / "shards"


def feature(value):
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def example(picture, label):
    """As slim's dataset_utils.image_to_tfexample."""
    return tf.train.Example(features=tf.train.Features(feature={
        "image/encoded": feature((DATA / picture).read_bytes()),
        "image/format": feature(pathlib.Path(picture).suffix[1:].encode()),
        "image/class/label": feature(label),
        "image/height": feature(16),
        "image/width": feature(32),
    })).SerializeToString()


def write(name, *examples):
    with tf.io.TFRecordWriter(str(SHARDS / name)) as writer:
        for serialized in examples:
            writer.write(serialized)


SHARDS.mkdir(exist_ok=True)
write("flowers_train_00000-of-00002.tfrecord",
      example("rgb.jpg", 1), example("large.jpg", 0), example("grey8.png", 2))
write("flowers_train_00001-of-00002.tfrecord", example("exif6.jpg", 2))
write("flowers_validation_00000-of-00001.tfrecord", example("lossless.webp", 3),
      example("grey.jpg", 0))
(SHARDS / "labels.txt").write_text("0:daisy\n1:dandelion\n2:rose\n3:lily: white\n")
