"""Writes what all systems load of one network, and says how much work it is.

    prepare.py WORKLOAD     (JSON; see peer.workload)

Writes random weights in TensorFlow's layout as a checkpoint of clarinet (`weights`) with the images
(`images`, .npy) and, where `onnx` is not empty, the same network as ONNX. Prints JSON: the
floating-point operations of the convolutions for one image, forward and in a training step.
"""

import json

import numpy as np
import peer
import safetensors.numpy
import slim_resnet
import torch

# Base and scale of what is drawn evenly from base - scale to base + scale, as in tests/golden.
RANGES = {
    "gamma": (1, 0.2),
    "beta": (2, 0.2),
    "biases": (0, 0.1),
    "moving_mean": (0, 0.1),
    "moving_variance": (1, 0.5),
}


def draw(random, name, shape):
    kind = name.rpartition("/")[2]
    if kind == "weights":
        base, scale = 0, np.sqrt(6 / np.prod(shape[:-1]))
    else:
        base, scale = RANGES[kind]
    return random.uniform(base - scale, base + scale, shape).astype(np.float32)


def weights(w, network):
    random = np.random.default_rng(0)
    values = {}
    for name, tensor in slim_resnet.tf_names(w.model, network).items():
        shape = tuple(tensor.shape)
        if len(shape) == 4:
            shape = shape[2], shape[3], shape[1], shape[0]
        values[name] = draw(random, name, shape)
    return values


def metadata(w):
    """What `clarinet predict` builds the network from."""
    preprocessing = {
        "image_size": w.size,
        "resize_side": 0,
        "channels": 3,
        "mean": [0.0, 0.0, 0.0],
        "scale": [1.0, 1.0, 1.0],
        "random_crop": False,
        "random_flip": False,
    }
    return {
        "clarinet.model": w.model,
        "clarinet.num_classes": str(w.classes),
        "clarinet.classes": json.dumps([f"class {i}" for i in range(w.classes)]),
        "clarinet.preprocessing": json.dumps(preprocessing),
    }


def operations(w):
    """Of direct convolutions; the first one needs no gradient of its input."""
    with torch.device("meta"):
        network = slim_resnet.create(w.model, w.classes, w.output_stride).eval()
        counts = []

        def count(conv, _, y):
            counts.append(2 * y[0].numel() * conv.weight[0].numel())

        for module in network.modules():
            if isinstance(module, slim_resnet.Conv):
                module.register_forward_hook(count)
        network(torch.empty(1, 3, w.size, w.size))
    return {"infer": sum(counts), "train": 3 * sum(counts) - counts[0]}


def export(w, network):
    torch.onnx.export(
        network.eval(),
        torch.zeros(2, 3, w.size, w.size),
        w.onnx,
        dynamo=False,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
    )


def main():
    w = peer.workload()
    network = slim_resnet.create(w.model, w.classes, w.output_stride)
    values = weights(w, network)
    safetensors.numpy.save_file(values, w.weights, metadata(w))
    np.save(w.images, peer.images(w))
    if w.onnx:
        slim_resnet.load(w.model, network, values)
        export(w, network)
    print(json.dumps(operations(w)))


main()
