#!/usr/bin/env python3
"""Write golden data computed by TF-slim; README.md specifies the files.

    python3 make_golden.py [case ...]      (default: every case)

Everything numeric runs twice: in float64, which is stored as the truth, and in
float32 with fused batch norm, as users run it, which shows how far TensorFlow
itself is from that truth.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import os
import pathlib
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import safetensors.numpy
import tensorflow.compat.v1 as tf
import tf_slim as slim
from tf_slim.nets import resnet_utils, resnet_v1, resnet_v2

OUTPUT = pathlib.Path(__file__).resolve().parent
MODELS = [f"v{version}_{depth}" for version in (1, 2) for depth in (50, 101, 152, 200)]
DECAY = 0.997  # resnet_arg_scope's batch_norm_decay
SGD_STEPS = 10
SGD_VARIABLES = 12
SAMPLES = 256
NOTABLE_ERROR = 3e-4
STREAMS = 512  # of inputs that are tried for one training case

# --- Values by rule -------------------------------------------------------

UINT64 = (1 << 64) - 1
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)

# Base and scale by full name, else by the name's last part (in a stream's name,
# `inputs/K`, by the first); weights depend on their shape.
BASE_AND_SCALE = {
    "gamma": (1.0, 0.2),
    "beta": (2.0, 0.2),
    "biases": (0.0, 0.1),
    "moving_mean": (0.0, 0.1),
    "moving_variance": (1.0, 0.5),
    "inputs": (0.0, 1.0),
    "pool_inputs": (0.0, 1.0),
    "bottleneck/preact/gamma": (4.0, 0.2),
}


def fnv1a64(text):
    """FNV-1a hash of a string's bytes."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & UINT64
    return value


def hashes(name, count):
    """The first `count` outputs of SplitMix64 seeded with a name's hash."""
    z = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN_GAMMA
    z += np.uint64(fnv1a64(name))
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def rule_values(name, shape):
    """The float32 array that the value rule gives `name`."""
    kind = "inputs" if name.startswith("inputs/") else name.rpartition("/")[2]
    if kind == "weights":
        base, scale = 0.0, np.sqrt(3.0) * np.sqrt(2.0 / np.prod(shape[:-1]))
    else:
        base, scale = BASE_AND_SCALE.get(name) or BASE_AND_SCALE[kind]
    unit = (hashes(name, np.prod(shape)) >> np.uint64(11)) * 2.0**-53
    values = base + scale * (2.0 * unit - 1.0)
    return values.astype(np.float32).reshape(shape)


# --- Files ----------------------------------------------------------------


def relative_error(actual, truth):
    """Largest deviation in units of the truth's largest magnitude."""
    deviation = np.max(np.abs(actual - truth))
    return deviation / np.max(np.abs(truth)) if deviation else 0.0


def entries(name, truth, whole_limit):
    """A tensor as stored: whole, or as samples, shape and statistics."""
    if truth.size <= whole_limit:
        return {name: np.asarray(truth, np.float32)}
    flat = truth.ravel()
    magnitude = np.abs(flat)
    positions = hashes(name, SAMPLES) % np.uint64(flat.size)
    return {
        f"{name}@samples": flat[positions].astype(np.float32),
        f"{name}@shape": np.array(truth.shape, np.int32),
        f"{name}@stats": np.array(
            [magnitude.max(), magnitude.argmax(), flat.sum(), flat @ flat]
        ),
    }


def is_zero(truth):
    """Whether a tensor is zero in exact arithmetic."""
    return np.max(np.abs(truth)) < 1e-12


def measure(run):
    """Run both precisions: {name: array} of float64 and float32, {name: error}.

    `run` maps a TensorFlow type to {tensor name: array}.
    """
    truth, single = run(tf.float64), run(tf.float32)
    return truth, single, {
        name: relative_error(single[name], truth[name]) for name in truth
    }


def write_case(case, description, measured, whole_limit=1024, exact=()):
    """Write the case's file and print what README.md quotes.

    `measured` comes from `measure`; `exact` has float64 arrays that are stored as
    they are, by name.
    """
    truth, single, errors = measured
    stored = dict(exact)
    for name, value in truth.items():
        stored[f"{name}@tf32err"] = np.array([errors[name]])
        if name == "sgd/losses":
            stored[name] = value
        else:
            stored.update(entries(name, value, whole_limit))
    tf_slim = importlib.metadata.version("tf_slim")
    # One string, as safetensors writes several in an order that varies.
    metadata = {
        "case": f"{description}; TensorFlow {tf.__version__}, tf_slim {tf_slim}"
    }
    path = OUTPUT / f"{case}.safetensors"
    safetensors.numpy.save_file(stored, path, metadata)
    report(case, truth, single, errors)


def report(case, truth, single, errors):
    """Print the numbers that README.md quotes."""
    print(case)
    groups = {}
    for name in truth:
        if is_zero(truth[name]):
            group = "zero"
        else:
            group = "/".join(name.split("/")[: 1 + name.startswith("sgd/")])
        groups.setdefault(group, []).append(name)
    zero = groups.pop("zero", [])
    for group, names in groups.items():
        worst = max(names, key=errors.get)
        notable = sum(errors[name] > NOTABLE_ERROR for name in names)
        print(
            f"  {group}: {len(names)} tensors, {notable} above {NOTABLE_ERROR},"
            f" worst {errors[worst]:.1e} {worst}"
        )
    if zero:
        noise = max(np.max(np.abs(single[name])) for name in zero)
        print(f"  {len(zero)} tensors are zero, float32 has up to {noise:.1e}")
    if "sgd/losses" in truth:
        for kind, values in ("64", truth), ("32", single):
            series = " ".join(f"{loss:.6f}" for loss in values["sgd/losses"])
            print(f"  float{kind} losses {series}")


# --- Running TF-slim ------------------------------------------------------


@contextlib.contextmanager
def slim_session(dtype):
    """A session on a new graph, under resnet_arg_scope, on one thread.

    The fused batch norm has no float64 kernel, so float64 does without it.
    """
    config = tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
    )
    fused = dtype == tf.float32
    with contextlib.ExitStack() as stack:
        stack.enter_context(tf.Graph().as_default())
        stack.enter_context(slim.arg_scope(resnet_utils.resnet_arg_scope()))
        stack.enter_context(slim.arg_scope([slim.batch_norm], fused=fused))
        yield stack.enter_context(tf.Session(config=config))


def constant(name, shape, dtype):
    """A graph constant holding the rule's values for `name`."""
    return tf.constant(rule_values(name, shape).astype(dtype.as_numpy_dtype))


def load_variables(session):
    """Give every variable of the graph its values by rule."""
    for variable in tf.global_variables():
        values = rule_values(variable.op.name, variable.shape.as_list())
        variable.load(values.astype(variable.dtype.as_numpy_dtype), session)


def named(prefix, variables, values=None):
    """{prefix/variable name: value}, values being the variables by default."""
    return {
        f"{prefix}/{variable.op.name}": value
        for variable, value in zip(variables, values or variables)
    }


def moving_statistics(kind="moving_"):
    """The graph's moving means and variances."""
    return [
        variable
        for variable in tf.global_variables()
        if f"/{kind}" in variable.op.name
    ]


def gradients(loss):
    """The gradient of a loss with respect to every trainable variable."""
    variables = tf.trainable_variables()
    return named("gradient", variables, tf.gradients(loss, variables))


def run_updates(session, operations):
    """Run operations that include the batch norm updates.

    Unfused batch norm puts the population variance into the moving variance;
    replace it by the fused kernel's, which has Bessel's correction.
    """
    corrected = [
        variable
        for variable in moving_statistics("moving_variance")
        if variable.dtype.base_dtype == tf.float64
    ]
    before = session.run(corrected)
    results = session.run(operations)
    after = session.run(corrected)
    for variable, old, new in zip(corrected, before, after):
        scope = variable.op.name.rpartition("/")[0]
        mean = variable.graph.get_operation_by_name(f"{scope}/moments/mean")
        count = mean.inputs[0].shape[:-1].num_elements()
        kept = DECAY * old
        variable.load(kept + (new - kept) * count / (count - 1), session)
    return results


# --- Networks -------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Network:
    """A residual network and how it is run."""

    model: str
    batch: int
    size: int
    is_training: bool
    num_classes: int | None = 10
    global_pool: bool = True
    output_stride: int | None = None
    learning_rate: float | None = None

    @property
    def shape(self):
        """The shape of the inputs."""
        return [self.batch, self.size, self.size, 3]

    def build(self, inputs):
        """Add the network to the graph; returns net and its end points."""
        module = resnet_v1 if self.model.startswith("v1") else resnet_v2
        return getattr(module, f"resnet_{self.model}")(
            inputs,
            num_classes=self.num_classes,
            is_training=self.is_training,
            global_pool=self.global_pool,
            output_stride=self.output_stride,
        )

    def describe(self):
        """The network in words, for the file's metadata."""
        fields = dataclasses.asdict(self).items()
        return ", ".join(f"{field}={value}" for field, value in fields)


def losses(logits):
    """Cross-entropy against the rule's labels, L2 regularization and total."""
    images, _, _, num_classes = logits.shape.as_list()
    classes = [(7 * image + 3) % num_classes for image in range(images)]
    cross_entropy = tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits(
            labels=np.eye(num_classes, dtype=np.int32)[classes],
            logits=tf.squeeze(logits, [1, 2]),
        )
    )
    regularization = tf.add_n(slim.losses.get_regularization_losses())
    return {
        "loss/cross_entropy": cross_entropy,
        "loss/regularization": regularization,
        "loss/total": cross_entropy + regularization,
    }


def run_sgd(session, total, learning_rate):
    """Gradient descent from the variables' values by rule."""
    trainable = tf.trainable_variables()
    picks = np.linspace(0, len(trainable) - 1, SGD_VARIABLES).astype(int)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.control_dependencies([total, *updates]):
        step = tf.train.GradientDescentOptimizer(learning_rate).minimize(total)
    load_variables(session)
    series = [run_updates(session, [total, step])[0] for _ in range(SGD_STEPS)]
    state = {
        **named("sgd/moving", moving_statistics()),
        **named("sgd/variable", [trainable[pick] for pick in picks]),
    }
    return {"sgd/losses": np.array(series), **session.run(state)}


def run_network(network, inputs, dtype):
    """Every checked tensor of one network in one precision.

    `inputs` is the name that the rule takes the inputs from.
    """
    with slim_session(dtype) as session:
        net, end_points = network.build(constant(inputs, network.shape, dtype))
        tensors = {"logits" if network.num_classes else "net": net}
        for key, value in end_points.items():
            tensors[f"end_points/{key}"] = value
        if network.is_training:
            tensors.update(losses(net))
            tensors.update(gradients(tensors["loss/total"]))
        load_variables(session)
        values = session.run(tensors)
        if network.learning_rate:
            run_updates(session, tf.get_collection(tf.GraphKeys.UPDATE_OPS))
            values.update(session.run(named("moving1", moving_statistics())))
            values.update(
                run_sgd(session, tensors["loss/total"], network.learning_rate)
            )
        return values


def pooling_gaps(pool):
    """By how much the largest element of each window exceeds the second largest."""
    size = pool.get_attr("ksize")
    inputs = pool.inputs[0]
    windows = tf.image.extract_patches(
        inputs - tf.reduce_min(inputs),  # no padding zero is above an element
        size,
        pool.get_attr("strides"),
        [1, 1, 1, 1],
        pool.get_attr("padding").decode(),
    )
    windows = tf.reshape(
        windows, [*windows.shape[:3], size[1] * size[2], inputs.shape[-1]]
    )
    largest, second = tf.unstack(
        tf.nn.top_k(tf.transpose(windows, [0, 1, 2, 4, 3]), 2).values, axis=-1
    )
    return largest - second


def decision_margin():
    """How near the graph comes to a decision that rounding could turn.

    Those are the sign of a ReLU's input and which element of a pooling window is
    the largest. In units of the root mean square of the operation's input.
    """
    margins = []
    for operation in tf.get_default_graph().get_operations():
        if operation.type == "Relu":
            distances = tf.abs(operation.inputs[0])
        elif operation.type == "MaxPool" and max(operation.get_attr("ksize")) > 1:
            distances = pooling_gaps(operation)
        else:
            continue
        scale = tf.sqrt(tf.reduce_mean(operation.inputs[0] ** 2))
        margins.append(tf.reduce_min(distances) / scale)
    return tf.reduce_min(margins)


def ranked_streams(network):
    """[(K, margin of inputs/K)], the farthest from all decisions first."""
    with slim_session(tf.float64) as session:
        inputs = tf.placeholder(tf.float64, network.shape)
        network.build(inputs)
        margin = decision_margin()
        load_variables(session)
        margins = {
            stream: session.run(
                margin, {inputs: rule_values(f"inputs/{stream}", network.shape)}
            )
            for stream in range(1, STREAMS + 1)
        }
    return sorted(margins.items(), key=lambda item: item[1], reverse=True)


def measure_training(network):
    """The stream that suits the network best, and what was measured with it.

    A gradient that is nearly zero, as that of a beta whose ReLU clips next to
    nothing (README.md), is mostly rounding: no such stream will do.
    """
    for stream, margin in ranked_streams(network):
        measured = measure(functools.partial(run_network, network, f"inputs/{stream}"))
        truth, _, errors = measured
        worst = max(errors[name] for name in truth if not is_zero(truth[name]))
        print(f"inputs/{stream}: margin {margin:.1e}, float32 error {worst:.1e}")
        if worst < NOTABLE_ERROR:
            return stream, measured
    raise LookupError("no stream will do")


def network_case(network, case):
    """Write the golden file of one network."""
    exact = {}
    description = network.describe()
    if network.is_training:
        stream, measured = measure_training(network)
        exact["inputs/stream"] = np.array([float(stream)])
        description += f", inputs=inputs/{stream}"
    else:
        measured = measure(functools.partial(run_network, network, "inputs"))
    if network.learning_rate:
        exact["sgd/learning_rate"] = np.array([network.learning_rate])
    write_case(case, description, measured, exact=exact)


def network_cases():
    """{case name: how to write it} for the networks with numbers."""
    train = functools.partial(Network, is_training=True)
    infer = functools.partial(Network, is_training=False)
    networks = {
        "train_v1_50_os8": train("v1_50", 2, 65, output_stride=8),
        "infer_v1_50_features": infer(
            "v1_50", 1, 64, num_classes=None, global_pool=False
        ),
        "infer_v1_50_pool": infer("v1_50", 1, 64, num_classes=None),
    }
    for model, learning_rate in ("v1_50", 3e-5), ("v2_50", 3e-4):
        for size in 64, 65:
            networks[f"train_{model}_{size}"] = train(
                model, 4, size, learning_rate=learning_rate
            )
        networks[f"infer_{model}_64"] = infer(model, 4, 64)
        for output_stride in 16, 8:
            networks[f"infer_{model}_os{output_stride}"] = infer(
                model, 1, 65, global_pool=False, output_stride=output_stride
            )
    return {
        case: functools.partial(network_case, network)
        for case, network in networks.items()
    }


# --- Single layers --------------------------------------------------------


def seed_bottleneck(inputs, depth, depth_bottleneck, stride):
    """A pre-activation bottleneck whose `preact` is a relu6."""
    plain = {"normalizer_fn": None, "activation_fn": None}
    with tf.variable_scope("bottleneck"):
        preact = slim.batch_norm(inputs, activation_fn=tf.nn.relu6, scope="preact")
        if depth == inputs.shape[-1]:
            shortcut = resnet_utils.subsample(inputs, stride, "shortcut")
        else:
            shortcut = slim.conv2d(
                preact, depth, [1, 1], stride=stride, scope="shortcut", **plain
            )
        residual = slim.conv2d(preact, depth_bottleneck, [1, 1], scope="conv1")
        residual = resnet_utils.conv2d_same(
            residual, depth_bottleneck, 3, stride, scope="conv2"
        )
        residual = slim.conv2d(residual, depth, [1, 1], scope="conv3", **plain)
        return shortcut + residual


def run_seed_bottleneck(depth, stride, dtype):
    """The unit's output and the gradients of half its squared norm."""
    with slim_session(dtype) as session:
        inputs = 4 * constant("inputs", [2, 9, 9, 32], dtype)
        output = seed_bottleneck(inputs, depth, 8, stride)
        loss = tf.reduce_sum(output**2) / 2
        load_variables(session)
        return session.run(
            {
                "output": output,
                "loss": loss,
                "gradient/inputs": tf.gradients(loss, inputs)[0],
                **gradients(loss),
            }
        )


def seed_bottleneck_case(depth, stride, case):
    """Write the golden file of one pre-activation bottleneck."""
    write_case(
        case,
        f"pre-activation bottleneck with relu6, depth={depth}, stride={stride}",
        measure(functools.partial(run_seed_bottleneck, depth, stride)),
        whole_limit=20000,
    )


def run_conv2d_same(dtype):
    """conv2d_same on ramps, max_pool2d on the rule's values."""

    def ramp(size):
        return np.add.outer(np.arange(size), np.arange(size))

    def convolve(size, stride, rate):
        inputs = tf.constant(ramp(size)[None, :, :, None], dtype)
        return resnet_utils.conv2d_same(inputs, 1, 3, stride, rate)

    tensors = {}
    with slim_session(dtype) as session, slim.arg_scope(
        [slim.conv2d],
        weights_initializer=tf.constant_initializer(ramp(3)),
        normalizer_fn=None,
        activation_fn=None,
    ):
        for size, stride in (4, 1), (4, 2), (5, 1), (5, 2):
            tensors[f"conv2d_same/{size}x{size}_stride{stride}"] = convolve(
                size, stride, rate=1
            )
        for rate in 2, 3:
            tensors[f"conv2d_same/9x9_rate{rate}"] = convolve(9, 1, rate)
        for size, channels in (4, 1), (5, 1), (8, 2):
            inputs = constant("pool_inputs", [1, size, size, channels], dtype)
            tensors[f"max_pool2d/{size}x{size}x{channels}"] = slim.max_pool2d(
                inputs, [3, 3], stride=2
            )
        session.run(tf.global_variables_initializer())
        return session.run(tensors)


def conv2d_same_case(case):
    """Write the golden file of the padded convolution and pooling."""
    description = "conv2d_same 3x3 and max_pool2d 3x3/2 SAME"
    write_case(case, description, measure(run_conv2d_same))


# --- Lists ----------------------------------------------------------------


def write_list(case, rows):
    """Write a text file of tab-separated columns."""
    lines = ("\t".join(map(str, row)) + "\n" for row in rows)
    (OUTPUT / f"{case}.txt").write_text("".join(lines))
    print(case)


def dimensions(tensor):
    """A static shape as text."""
    return ",".join(map(str, tensor.shape.as_list()))


def variables_case(model, case):
    """List a network's variables in the order TF-slim creates them."""
    with slim_session(tf.float32):
        network = Network(model, 1, 224, is_training=True, num_classes=1000)
        network.build(tf.zeros(network.shape))
        variables = tf.global_variables()
        penalty = tf.add_n(slim.losses.get_regularization_losses())
        slopes = tf.gradients(penalty, variables)
        write_list(
            case,
            [
                (
                    variable.op.name,
                    dimensions(variable),
                    int(variable.trainable),
                    int(slope is not None),
                )
                for variable, slope in zip(variables, slopes)
            ],
        )


def end_points_case(model, case):
    """List a network's end points in the order TF-slim returns them."""
    with slim_session(tf.float32):
        network = Network(model, 1, 224, is_training=False, num_classes=1000)
        _, end_points = network.build(tf.zeros(network.shape))
        write_list(case, [(key, dimensions(end_points[key])) for key in end_points])


# --- Command line ---------------------------------------------------------

CASES = {
    **network_cases(),
    **{
        f"seed_bottleneck_s{stride}_d{depth}": functools.partial(
            seed_bottleneck_case, depth, stride
        )
        for stride in (1, 2)
        for depth in (32, 48)
    },
    "conv2d_same": conv2d_same_case,
    **{
        f"variables_{model}": functools.partial(variables_case, model)
        for model in MODELS
    },
    **{
        f"end_points_{model}": functools.partial(end_points_case, model)
        for model in ("v1_50", "v2_50")
    },
}


def main(cases):
    """Write the named cases, or all of them."""
    warnings.simplefilter("ignore")
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.disable_eager_execution()
    for case in cases or CASES:
        CASES[case](case)


if __name__ == "__main__":
    main(sys.argv[1:])
