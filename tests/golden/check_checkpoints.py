#!/usr/bin/env python3
"""Restore with TensorFlow what clarinet wrote: tf.train.Saver, load_checkpoint and TF-slim.

    pip install -r requirements.txt && python3 check_checkpoints.py CLARINET FOLDER

CLARINET is the program, FOLDER an empty one to work in. Exits with 0 when every value was restored
with the same bits.
"""

import os
import pathlib
import subprocess
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import safetensors.numpy
import tensorflow as tf
import tf_slim as slim
from tf_slim.nets import resnet_v1

CHECKPOINTS = pathlib.Path(__file__).resolve().parent / "checkpoints"
v1 = tf.compat.v1


def convert(program, *words):
    subprocess.run([program, "convert", *map(str, words)], check=True)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def check_reader(program, folder):
    """TensorFlow's reader agrees about every tensor of the committed files, after each way round."""
    for name in ["v1", "v1_snappy", "v1_parts", "v2", "v2_parts", "v2_shards"]:
        middle, prefix = folder / f"{name}.safetensors", folder / name
        convert(program, CHECKPOINTS / name, middle)
        convert(program, middle, prefix)
        ours = tf.train.load_checkpoint(str(prefix))
        theirs = tf.train.load_checkpoint(str(CHECKPOINTS / name))
        wanted = safetensors.numpy.load_file(CHECKPOINTS / f"{name}.safetensors")
        shapes, dtypes = theirs.get_variable_to_shape_map(), theirs.get_variable_to_dtype_map()
        checked = 0
        for key in shapes:
            if dtypes[key] == tf.string:
                continue
            got = np.asarray(ours.get_tensor(key))
            assert ours.get_variable_to_dtype_map()[key] == dtypes[key], key
            assert list(got.shape) == shapes[key], key
            if key in wanted:
                assert same(got, wanted[key]), key
            elif (name, key) != ("v1", "c64"):  # which TensorFlow's reader of V1 refuses
                assert same(got, np.asarray(theirs.get_tensor(key))), key
            checked += 1
        print(f"load_checkpoint: {name}: {checked} tensors agree")


def check_saver(program, folder):
    """A small graph: saved by TensorFlow, there and back through clarinet, restored by Saver."""
    def build():
        x = tf.constant(np.linspace(-1, 1, 12, dtype="f4").reshape(4, 3))
        w = v1.get_variable("layer/weights", [3, 2], initializer=v1.glorot_uniform_initializer(),
                            use_resource=False)
        b = v1.get_variable("layer/biases", [2], initializer=v1.zeros_initializer(),
                            use_resource=False)
        step = v1.train.get_or_create_global_step()
        loss = tf.reduce_mean((x @ w + b - 1) ** 2)
        return loss, v1.train.MomentumOptimizer(0.1, 0.9).minimize(loss, step), step

    with tf.Graph().as_default(), v1.Session() as session:
        loss, train, step = build()
        session.run(v1.global_variables_initializer())
        for _ in range(5):
            session.run(train)
        prefix = v1.train.Saver().save(session, str(folder / "small.ckpt"))
        names = [v.name for v in v1.global_variables()]
        before = session.run(v1.global_variables())
        after_one_more = session.run([train, loss])[1], session.run(loss)
    convert(program, prefix, folder / "small.safetensors")
    out = folder / "small"
    out.mkdir()
    convert(program, folder / "small.safetensors", out, "--to", "tensorflow")
    latest = tf.train.latest_checkpoint(str(out))
    assert latest == str(out / "model.ckpt-5"), latest
    with tf.Graph().as_default(), v1.Session() as session:
        loss, train, step = build()
        v1.train.Saver().restore(session, latest)
        for name, a, b in zip(names, before, session.run(v1.global_variables())):
            assert same(np.asarray(a), np.asarray(b)), name
        assert session.run(step) == 5
        assert (session.run([train, loss])[1], session.run(loss)) == after_one_more
    print(f"Saver: {len(names)} variables of {os.path.basename(latest)} restored with the same "
          f"bits ({', '.join(n.split(':')[0] for n in names)}); the next step's losses are equal")


def check_slim(program, folder):
    """resnet_v1_50 under its real names, from safetensors to slim's assign_from_checkpoint."""
    with tf.Graph().as_default(), v1.Session() as session:
        with slim.arg_scope(resnet_v1.resnet_arg_scope()):
            resnet_v1.resnet_v1_50(v1.placeholder(tf.float32, [None, 64, 64, 3]), 5,
                                   is_training=False)
        variables = slim.get_variables_to_restore()
        rng = np.random.default_rng(3)
        arrays = {v.op.name: rng.standard_normal(v.shape.as_list()).astype("f4")
                  for v in variables}
        safetensors.numpy.save_file(arrays, folder / "resnet.safetensors",
                                    metadata={"global_step": "77", "clarinet.model": "resnet_v1_50"})
        convert(program, folder / "resnet.safetensors", folder / "resnet_v1_50.ckpt")
        assign, feeds = slim.assign_from_checkpoint(str(folder / "resnet_v1_50.ckpt"), variables)
        session.run(assign, feeds)
        for variable, value in zip(variables, session.run(variables)):
            assert same(value, arrays[variable.op.name]), variable.op.name
        extra = tf.train.load_checkpoint(str(folder / "resnet_v1_50.ckpt"))
        assert extra.get_tensor("global_step") == 77
        assert extra.get_tensor("clarinet.metadata/clarinet.model") == b"resnet_v1_50"
        print(f"assign_from_checkpoint: {len(variables)} variables of resnet_v1_50")

        # As fine-tuning does: without logits, into other values.
        convert(program, folder / "resnet_v1_50.ckpt", folder / "headless.ckpt", "--exclude",
                "resnet_v1_50/logits")
        session.run(v1.global_variables_initializer())
        restored = slim.get_variables_to_restore(exclude=["resnet_v1_50/logits"])
        slim.assign_from_checkpoint_fn(str(folder / "headless.ckpt"), restored)(session)
        for variable, value in zip(restored, session.run(restored)):
            assert same(value, arrays[variable.op.name]), variable.op.name
        assert not extra.has_tensor("resnet_v1_50/none")
        print(f"assign_from_checkpoint_fn: {len(restored)} variables without logits")

        # And V1, as the published resnet_v1_50.ckpt is.
        saver = v1.train.Saver(variables, write_version=1)
        session.run(assign, feeds)
        saver.save(session, str(folder / "old.ckpt"), write_meta_graph=False, write_state=False)
        convert(program, folder / "old.ckpt", folder / "old.safetensors")
        got = safetensors.numpy.load_file(folder / "old.safetensors")
        assert got.keys() == arrays.keys()
        for name, value in arrays.items():
            assert same(got[name], value), name
        print(f"V1 by Saver, read by the safetensors library: {len(got)} variables of resnet_v1_50")


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    check_reader(program, folder)
    check_saver(program, folder)
    check_slim(program, folder)


if __name__ == "__main__":
    main()
