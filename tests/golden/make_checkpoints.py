#!/usr/bin/env python3
"""Write the checkpoints in checkpoints/ with TensorFlow: what the readers must agree with.

    pip install -r requirements.txt && python3 make_checkpoints.py

Beside each, NAME.txt has what TensorFlow's reader lists, a line for each tensor: "name dtype [shape]".
NAME.safetensors, by the safetensors library, has the values that it was given and reads back, and as
"name@F32" those of other types as NumPy makes float32 of them; but nothing of tensors that are all
zeros, or no real numbers.
"""

import ctypes
import os
import pathlib
import shutil
import struct

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import safetensors.numpy
import tensorflow as tf

OUT = pathlib.Path(__file__).resolve().parent / "checkpoints"
NAMES = {"float32": "F32", "float64": "F64", "int32": "I32", "uint8": "U8", "int16": "I16",
         "int8": "I8", "string": "STRING", "complex64": "C64", "int64": "I64", "bool": "BOOL",
         "bfloat16": "BF16", "uint16": "U16", "complex128": "C128", "float16": "F16",
         "uint32": "U32", "uint64": "U64"}
rng = np.random.default_rng(7)


def values(v2):
    """Arrays of every type that TensorFlow's format can have, with edges of its range."""
    arrays = {
        "conv/weights": rng.standard_normal((3, 3, 2, 4)).astype("f4"),
        "conv/weights/Momentum": np.zeros((3, 3, 2, 4), "f4"),
        "conv/weights/ExponentialMovingAverage": np.ones((3, 3, 2, 4), "f4") / 3,
        "conv/biases": np.array([0, -0.0, np.inf, 1e-45], "f4"),
        "zeros": np.zeros((2, 2), "f4"),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), "f4"),
        "global_step": np.int64(123456789012),
        "f64": np.array([np.pi, 1e300, -1e-300]),
        "i64": np.array([np.iinfo("i8").min, -1, 0, 2**24 + 1, np.iinfo("i8").max]),
        "i32": np.array([np.iinfo("i4").min, -1, 0, 16777217, np.iinfo("i4").max], "i4"),
        "i16": np.array([-32768, -1, 0, 32767], "i2"),
        "i8": np.array([-128, -1, 0, 127], "i1"),
        "u8": np.array([0, 1, 255], "u1"),
        "f16": np.array([0, -0.0, 1, 65504, 6e-8, 6.1e-5, np.inf, -1.5], "f2"),
        "bool": np.array([True, False, True]),
        "c64": np.array([1 + 2j], "c8"),
        "text": np.array([b"of no", b"numbers"], object),
        "\u00e9\u00ff": np.arange(3, dtype="f4"),
    }
    if v2:
        arrays["bf16"] = np.array([0, 1, -1.5, 3e38], "f4").astype(tf.bfloat16.as_numpy_dtype)
        arrays["u16"] = np.array([0, 65535], "u2")
        arrays["u32"] = np.array([0, 2**32 - 1], "u4")
        arrays["u64"] = np.array([0, 2**64 - 1], "u8")
    else:
        del arrays["text"]  # TensorFlow's V1 writer aborts on strings
    return arrays


def describe(name, shapes, arrays):
    lines = []
    for key in sorted(shapes, key=lambda k: k.encode()):
        dtype, shape = shapes[key]
        lines.append(f"{key} {NAMES[dtype.name]} [{','.join(str(d) for d in shape)}]\n")
    (OUT / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    flat = {}
    for key, array in arrays.items():
        array = np.ascontiguousarray(array)  # at least a vector
        if array.dtype.kind in "cO" or (array.size > 0 and not array.view("u1").any()):
            continue
        shape = np.shape(arrays[key])
        with np.errstate(over="ignore"):
            if array.dtype != np.float32:
                flat[f"{key}@F32"] = array.astype("f4").reshape(shape)
        if array.dtype.name != "bfloat16":  # which NumPy and so the library do not know
            flat[key] = array.reshape(shape)
    safetensors.numpy.save_file(flat, OUT / f"{name}.safetensors")


def finish(name, path, arrays):
    """Describes what TensorFlow's own reader says about what was written."""
    reader = tf.train.load_checkpoint(str(path))
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    for key, array in arrays.items():
        try:
            got = reader.get_tensor(key)
        except tf.errors.UnimplementedError:  # its V1 reader lacks half, complex and parts
            print(f"{name}: {key} is written, but not read back, by TensorFlow")
            continue
        assert np.asarray(got).tobytes() == np.asarray(array).tobytes() or array.dtype == object, key
    describe(name, {k: (dtypes[k], shapes[k]) for k in shapes}, arrays)


def save_v2(path, arrays):
    return tf.raw_ops.SaveV2(prefix=str(path), tensor_names=list(arrays),
                             shape_and_slices=[""] * len(arrays),
                             tensors=[tf.constant(a) for a in arrays.values()])


def whole(name, version, arrays):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        if version == 2:
            session.run(save_v2(OUT / name, arrays))
        else:
            session.run(tf.raw_ops.Save(filename=str(OUT / name), tensor_names=list(arrays),
                                        data=[tf.constant(a) for a in arrays.values()]))
    finish(name, OUT / name, arrays)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def read_varints(data, at, count):
    values = []
    for _ in range(count):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                break
        values.append(value)
    return values, at


def snappy(data):
    """Google's library; Python has none."""
    library = ctypes.CDLL("libsnappy.so.1")
    size = ctypes.c_size_t(32 + len(data) + len(data) // 6)
    out = ctypes.create_string_buffer(size.value)
    assert library.snappy_compress(data, ctypes.c_size_t(len(data)), out, ctypes.byref(size)) == 0
    return out.raw[: size.value]


def packed(name):
    """A V1 table whose blocks are packed, as older TensorFlows wrote them; newer ones read it."""
    arrays = {f"{letter}/zeros": np.zeros((260, 270), "f4") for letter in "ac"}  # a block's size
    arrays["b/weights"] = rng.standard_normal(40).astype("f4")
    whole(name, 1, arrays)
    data = (OUT / name).read_bytes()
    (_, _, at, size), _ = read_varints(data, len(data) - 48, 4)
    index, out = data[at : at + size], b""
    entries = index[: -4 - 4 * struct.unpack("<I", index[-4:])[0]]

    def add(block, pack):
        nonlocal out
        handle = varint(len(out))
        block = snappy(block) + b"\1" if pack else block + b"\0"
        handle += varint(len(block) - 1)
        out += block + struct.pack("<I", crc32c(block))
        return handle

    new, at, key = b"", 0, b""
    while at < len(entries):
        (shared, own, length), at = read_varints(entries, at, 3)
        key = key[:shared] + entries[at : at + own]
        (offset, size), at = read_varints(entries, at + own, 2)
        handle = add(data[offset : offset + size], True)
        new += varint(0) + varint(len(key)) + varint(len(handle)) + key + handle
    empty = add(struct.pack("<II", 0, 1), False)
    footer = empty + add(new + struct.pack("<II", 0, 1), True)
    out += footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    (OUT / name).write_bytes(out)
    finish(name, OUT / name, arrays)


def parts():
    """Variables and into how many parts each dimension is cut: the first, the last, a middle one."""
    return {
        "rows": (rng.standard_normal((7, 3)).astype("f4"), [3, 1]),
        "columns": (rng.integers(-100, 100, (3, 200)).astype("i8"), [1, 2]),
        "middle": (rng.standard_normal((2, 5, 3)).astype("f4"), [1, 4, 1]),
    }


def partitioned(name, version, cut):
    arrays = {key: array for key, (array, _) in cut.items()}
    axes = {key: counts for key, (_, counts) in cut.items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = []
        for key, array in arrays.items():
            def part(shape, dtype, partition_info, array=array):
                offset = partition_info.var_offset
                return tf.constant(array[tuple(slice(o, o + s) for o, s in zip(offset, shape))])
            variables.append(tf.compat.v1.get_variable(
                key, shape=array.shape, dtype=array.dtype, initializer=part, use_resource=False,
                partitioner=lambda shape, dtype, key=key: axes[key]))
        session.run(tf.compat.v1.global_variables_initializer())
        for variable, array in zip(variables, arrays.values()):
            assert (session.run(variable.as_tensor()) == array).all()
        saver = tf.compat.v1.train.Saver({v.name: v for v in variables}, write_version=version)
        saver.save(session, str(OUT / name), write_meta_graph=False, write_state=False)
    finish(name, OUT / name, arrays)


def sharded(name):
    """Two data files behind one index, by merging two checkpoints as Saver(sharded=True) does."""
    arrays = {"a/first": np.arange(6, dtype="f4").reshape(2, 3), "b/second": np.arange(5) - 2,
              "c/third": np.float32(8)}
    halves = [["a/first", "c/third"], ["b/second"]]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        parts = [str(OUT / f"part-{i}") for i in range(2)]
        for path, keys in zip(parts, halves):
            session.run(save_v2(path, {key: arrays[key] for key in keys}))
        session.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts,
                                                  destination_prefix=str(OUT / name),
                                                  delete_old_dirs=False))
    finish(name, OUT / name, arrays)


def folder(name):
    """What Saver.save leaves in a training's folder."""
    path = OUT / name
    path.mkdir()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("w", initializer=np.arange(4, dtype="f4"), use_resource=False)
        step = tf.compat.v1.train.create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(step.assign(42))
        saver = tf.compat.v1.train.Saver(save_relative_paths=True)
        saver.save(session, str(path / "model.ckpt"), global_step=step, write_meta_graph=False)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    whole("v1", 1, values(False))
    packed("v1_snappy")
    whole("v2", 2, values(True))
    partitioned("v1_parts", 1, parts())
    partitioned("v2_parts", 2, parts())
    # Places in it take one, two and three bytes in keys.
    partitioned("v2_wide", 2, {"wide": (np.zeros((2, 20000), "i1"), [1, 3])})
    sharded("v2_shards")
    folder("folder")
    for path in sorted(OUT.rglob("*")):
        if path.is_file():
            print(path.relative_to(OUT), path.stat().st_size)


if __name__ == "__main__":
    main()
