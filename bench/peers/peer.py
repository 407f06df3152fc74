"""What the peers share: the workload they are given and how they talk to bench/compare.

A peer is started with the workload as JSON. It sets itself up, writes one line of JSON when it is
ready, and then answers each line of its standard input with one line of JSON:

    run SECONDS     takes steps for so long; answers with the seconds of each
    logits FILE     writes what the network says of the images as .npy

It ends with its standard input. While it waits, it uses no processor.
"""

import contextlib
import ctypes
import gc
import json
import os
import sys
import time
import types

import numpy as np

LEARNING_RATE = 1e-5  # small: the images are noise
MIN_STEPS = 3
FIRST_STEPS = 3


def workload():
    """mode, model, batch, size, classes, output_stride, threads, weights and onnx."""
    return types.SimpleNamespace(**json.loads(sys.argv[1]))


def images(w):
    """The same noise for every peer, [N,H,W,3] in [-1, 1)."""
    random = np.random.default_rng(1)
    return random.uniform(-1, 1, (w.batch, w.size, w.size, 3)).astype(np.float32)


def labels(w):
    return (np.arange(w.batch) * 7 + 3) % w.classes


def _answer(channel, **values):
    print(json.dumps(values), file=channel, flush=True)


def _forget_set_up():
    """Gives back what only the set-up needed, and starts the peak of memory (VmHWM) anew."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")


def serve(w, version, step):
    """step() takes one step and returns the cross-entropy (train) or the logits (infer)."""
    # Libraries print what they like; only answers may reach standard output.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    first = [step() for _ in range(FIRST_STEPS)]
    losses = [float(loss) for loss in first] if w.mode == "train" else []
    _forget_set_up()
    _answer(channel, version=version, losses=losses)
    for line in sys.stdin:
        command, argument = line.split(maxsplit=1)
        if command == "logits":
            np.save(argument.strip(), np.asarray(step(), np.float32))
            _answer(channel)
        else:
            _answer(channel, seconds=_run(step, float(argument)))


def _run(step, seconds):
    step()  # others have been here: caches are cold
    times = []
    while sum(times) < seconds or len(times) < MIN_STEPS:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return times
