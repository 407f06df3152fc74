#!/usr/bin/env python3
"""Write optimizers.safetensors: steps of TensorFlow's optimizers, in float64.

    python3 make_optimizers.py

The problem is softmax regression: x [6,5], labels [6,7], fc/weights [5,7] and
fc/biases [7], whose loss is the mean cross-entropy plus DECAY * |weights|^2 / 2.
Each case takes STEPS steps from the same values. The file has CASE/VARIABLE and
CASE/SLOT after the last one. AdamW and LARS, which tf.compat.v1.train lacks, are
written out below in numpy.
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import safetensors.numpy
import tensorflow.compat.v1 as tf
import tf_slim as slim

from make_golden import hashes

OUTPUT = pathlib.Path(__file__).resolve().parent / "optimizers.safetensors"
STEPS = 6
DECAY = 0.01
SMOOTHING = 0.1
EMA = 0.75


def uniform(name, shape, scale):
    """Float32 numbers in [-scale, scale), as float64."""
    unit = (hashes(name, int(np.prod(shape))) >> np.uint64(11)) * 2.0**-53
    return (scale * (2 * unit - 1)).astype(np.float32).astype(np.float64).reshape(shape)


X = uniform("x", (6, 5), 2.0)
LABELS = np.eye(7)[[0, 3, 6, 2, 2, 5]]
WEIGHTS = uniform("fc/weights", (5, 7), 0.5)
BIASES = uniform("fc/biases", (7,), 0.5)


def build(smoothing=0.0):
    """The loss in a new graph."""
    weights = tf.get_variable("fc/weights", initializer=WEIGHTS)
    biases = tf.get_variable("fc/biases", initializer=BIASES)
    logits = tf.matmul(X, weights) + biases
    loss = tf.losses.softmax_cross_entropy(LABELS, logits, label_smoothing=smoothing)
    return loss + DECAY * tf.nn.l2_loss(weights)


def trajectory(optimizer, transform=None, average=None):
    """{name: value} of every variable after STEPS steps."""
    with tf.Graph().as_default(), tf.Session() as session:
        loss = build()
        step = tf.get_variable("global_step", initializer=np.int64(0), trainable=False)
        optimizer = optimizer()
        gradients = optimizer.compute_gradients(loss)
        if transform is not None:
            gradients = transform(gradients)
        train = optimizer.apply_gradients(gradients, global_step=step)
        if average is not None:
            with tf.control_dependencies([train]):
                # read after the step has been counted
                train = average(tf.identity(step.read_value())).apply(tf.trainable_variables())
        session.run(tf.global_variables_initializer())
        for _ in range(STEPS):
            session.run(train)
        names = [v.op.name for v in tf.global_variables() if v.op.name != "global_step"]
        return dict(zip(names, session.run([v for v in tf.global_variables()
                                            if v.op.name != "global_step"])))


def clip_global(gradients):
    clipped, _ = tf.clip_by_global_norm([g for g, _ in gradients], 0.25)
    return list(zip(clipped, [v for _, v in gradients]))


def clip_each(gradients):
    return slim.learning.clip_gradient_norms(gradients, 0.2)


train = tf.train
CASES = {
    "gradient_descent": (lambda: train.GradientDescentOptimizer(0.5),),
    "momentum": (lambda: train.MomentumOptimizer(0.25, 0.75),),
    "nesterov": (lambda: train.MomentumOptimizer(0.25, 0.75, use_nesterov=True),),
    "rmsprop": (lambda: train.RMSPropOptimizer(0.0625, 0.75, 0.5, 1e-3),),
    "rmsprop_centered": (
        lambda: train.RMSPropOptimizer(0.0625, 0.75, 0.5, 1e-3, centered=True),),
    "adam": (lambda: train.AdamOptimizer(0.0625, 0.75, 0.9375, 1e-3),),
    "adagrad": (lambda: train.AdagradOptimizer(0.5),),
    "adadelta": (lambda: train.AdadeltaOptimizer(2.0, 0.75, 1e-3),),
    "ftrl": (lambda: train.FtrlOptimizer(
        0.5, l1_regularization_strength=0.03125, l2_regularization_strength=0.0625),),
    "ftrl_power": (lambda: train.FtrlOptimizer(
        0.5, learning_rate_power=-0.75, initial_accumulator_value=0.25),),
    "clip_global": (lambda: train.MomentumOptimizer(0.25, 0.75), clip_global),
    "clip_each": (lambda: train.MomentumOptimizer(0.25, 0.75), clip_each),
    "average": (lambda: train.GradientDescentOptimizer(0.5), None,
                lambda step: train.ExponentialMovingAverage(EMA)),
    "average_num_updates": (
        lambda: train.GradientDescentOptimizer(0.5), None,
        lambda step: train.ExponentialMovingAverage(EMA, num_updates=step)),
}


# --- What TensorFlow lacks ------------------------------------------------


def gradients(weights, biases):
    """Of the loss, by weights and by biases."""
    logits = X @ weights + biases
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    d = (p / p.sum(axis=1, keepdims=True) - LABELS) / len(X)
    return X.T @ d + DECAY * weights, d.sum(axis=0)


def adamw():
    """torch.optim.AdamW(lr=1/16, betas=(0.75, 0.9375), eps=1e-3), no decay of biases."""
    rate, beta1, beta2, epsilon = 0.0625, 0.75, 0.9375, 1e-3
    values = [WEIGHTS.copy(), BIASES.copy()]
    m, v = [np.zeros_like(w) for w in values], [np.zeros_like(w) for w in values]
    for t in range(1, STEPS + 1):
        for i, g in enumerate(gradients(*values)):
            values[i] -= rate * (0.25 if i == 0 else 0.0) * values[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            root = np.sqrt(v[i] / (1 - beta2**t)) + epsilon
            values[i] -= rate * m[i] / (1 - beta1**t) / root
    names = ["fc/weights", "fc/biases"]
    return {**dict(zip(names, values)),
            **{f"{n}/AdamW": x for n, x in zip(names, m)},
            **{f"{n}/AdamW_1": x for n, x in zip(names, v)},
            "beta1_power": np.array(beta1 ** (STEPS + 1)),
            "beta2_power": np.array(beta2 ** (STEPS + 1))}


def lars():
    """tf.contrib.opt.LARSOptimizer(2, 0.75, weight_decay=1/16, eeta=1/32, skip_list=["biases"])."""
    rate, momentum, decay, trust = 2.0, 0.75, 0.0625, 0.03125
    values = [WEIGHTS.copy(), BIASES.copy()]
    m = [np.zeros_like(w) for w in values]
    for _ in range(STEPS):
        for i, g in enumerate(gradients(*values)):
            scaled = rate
            if i == 0:
                w_norm, g_norm = np.linalg.norm(values[i]), np.linalg.norm(g)
                scaled *= trust * w_norm / (g_norm + decay * w_norm)
                g = g + decay * values[i]
            m[i] = momentum * m[i] + g
            values[i] -= scaled * m[i]
    names = ["fc/weights", "fc/biases"]
    return {**dict(zip(names, values)),
            **{f"{n}/LARSOptimizer": x for n, x in zip(names, m)}}


# --- Learning rates and smoothed labels -----------------------------------

RATE_STEPS = [0, 1, 9, 10, 11, 25, 39, 40, 41, 100, 12345]
SCHEDULES = {
    "exponential": lambda s: train.exponential_decay(0.5, s, 10, 0.75),
    "step": lambda s: train.exponential_decay(0.5, s, 10, 0.75, staircase=True),
    "polynomial": lambda s: train.polynomial_decay(0.5, s, 40, 0.0625, 1.5),
    "cosine": lambda s: train.cosine_decay(0.5, s, 40, alpha=0.125),
    "piecewise": lambda s: train.piecewise_constant(s, [10, 40], [0.5, 0.25, 0.125]),
}


def rates(schedule):
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int32, [])
        rate = schedule(step)
        return np.array([session.run(rate, {step: s}) for s in RATE_STEPS])


def smoothed():
    with tf.Graph().as_default(), tf.Session() as session:
        loss = build(SMOOTHING)
        session.run(tf.global_variables_initializer())
        values = session.run([loss, *tf.gradients(loss, tf.trainable_variables())])
        return dict(zip(["loss", "fc/weights", "fc/biases"], values))


def main():
    tf.disable_eager_execution()
    tensors = {"x": X, "labels": LABELS, "weights": WEIGHTS, "biases": BIASES}
    results = {name: trajectory(*case) for name, case in CASES.items()}
    results.update(adamw=adamw(), lars=lars(), smoothed=smoothed(),
                   rate={name: rates(s) for name, s in SCHEDULES.items()})
    for case, values in results.items():
        tensors.update({f"{case}/{name}": value for name, value in values.items()})
    safetensors.numpy.save_file(
        {name: np.asarray(value, np.float32) for name, value in tensors.items()},
        OUTPUT, metadata={"tensorflow": tf.__version__})


if __name__ == "__main__":
    main()
