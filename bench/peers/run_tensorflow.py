"""TF-slim itself, in a TensorFlow 1 session; with --xla, compiled by XLA."""

import os
import sys

XLA = "--xla" in sys.argv
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
if XLA:
    os.environ["TF_XLA_FLAGS"] = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"

import peer
import safetensors.numpy
import tensorflow.compat.v1 as tf
import tf_slim as slim
from tf_slim.nets import resnet_utils, resnet_v1, resnet_v2


def small_network(images, classes, is_training, output_stride):
    """clarinet's resnet_v2_20 from slim's blocks."""
    blocks = [
        resnet_v2.resnet_v2_block("block1", base_depth=16, num_units=2, stride=2),
        resnet_v2.resnet_v2_block("block2", base_depth=32, num_units=2, stride=2),
        resnet_v2.resnet_v2_block("block3", base_depth=64, num_units=2, stride=1),
    ]
    with tf.variable_scope("resnet_v2_20"):
        with slim.arg_scope([slim.conv2d], activation_fn=None, normalizer_fn=None):
            net = resnet_utils.conv2d_same(images, 16, 3, stride=1, scope="conv1")
    return resnet_v2.resnet_v2(
        net,
        blocks,
        classes,
        is_training,
        output_stride=output_stride,
        include_root_block=False,
        scope="resnet_v2_20",
    )


def build(w, images):
    """The logits [N,C]."""
    if w.model == "resnet_v2_20":
        network = small_network
    else:
        network = getattr(resnet_v1 if "_v1_" in w.model else resnet_v2, w.model)
    with slim.arg_scope(resnet_utils.resnet_arg_scope()):
        net, _ = network(
            images, w.classes, is_training=w.mode == "train", output_stride=w.output_stride or None
        )
    return tf.squeeze(net, [1, 2])


def load(session, path):
    values = safetensors.numpy.load_file(path)
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    if variables.keys() != values.keys():
        raise SystemExit("other variables than the weights file has")
    for name, variable in variables.items():
        variable.load(values[name], session)


def training(logits, labels):
    """What a training step runs: the cross-entropy and the rest."""
    entropy = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    total = entropy + tf.add_n(slim.losses.get_regularization_losses())
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.GradientDescentOptimizer(peer.LEARNING_RATE).minimize(total)
    return [entropy, total, train]


def freeze(session, config, images, logits):
    """The same with weights as constants, which TensorFlow folds batch norm into."""
    definition = tf.graph_util.convert_variables_to_constants(
        session, session.graph_def, [logits.op.name]
    )
    session.close()
    with tf.Graph().as_default():
        images, logits = tf.import_graph_def(
            definition, return_elements=[images.name, logits.name]
        )
        return tf.Session(config=config), images, logits


def main():
    w = peer.workload()
    tf.disable_eager_execution()
    config = tf.ConfigProto(
        intra_op_parallelism_threads=w.threads, inter_op_parallelism_threads=w.threads
    )
    images = tf.placeholder(tf.float32, [w.batch, w.size, w.size, 3])
    logits = build(w, images)
    session = tf.Session(config=config)
    if w.mode == "train":
        labels = tf.placeholder(tf.int64, [w.batch])
        fetches = training(logits, labels)
        feeds = {images: peer.images(w), labels: peer.labels(w)}
        load(session, w.weights)
    else:
        load(session, w.weights)
        session, images, logits = freeze(session, config, images, logits)
        fetches = [logits]
        feeds = {images: peer.images(w)}
    version = f"TF-slim on TensorFlow {tf.__version__}" + (" with XLA" if XLA else "")
    peer.serve(w, version, lambda: session.run(fetches, feeds)[0])


main()
