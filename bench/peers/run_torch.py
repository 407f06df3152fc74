"""PyTorch: oneDNN, channels_last; with --compile, training compiled by Inductor."""

import sys

import peer
import safetensors.numpy
import slim_resnet
import torch
import torch.nn.functional as F

COMPILE = "--compile" in sys.argv
WEIGHT_DECAY = 1e-4


def training(network, images, labels):
    """The L2 term is the optimizer's: the same update as slim's loss, with less work."""
    decayed = [p for p in network.parameters() if p.dim() == 4]
    others = [p for p in network.parameters() if p.dim() != 4]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others}],
        lr=peer.LEARNING_RATE,
    )

    if COMPILE:
        network = torch.compile(network)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference(network, images):
    """Traced and frozen: batch norm folded, weights laid out beforehand."""
    with torch.no_grad():
        network = torch.jit.optimize_for_inference(torch.jit.trace(network, images))

    def step():
        with torch.no_grad():
            return network(images).numpy()

    return step


def main():
    w = peer.workload()
    torch.set_num_threads(w.threads)
    network = slim_resnet.create(w.model, w.classes, w.output_stride)
    slim_resnet.load(w.model, network, safetensors.numpy.load_file(w.weights))
    network = network.to(memory_format=torch.channels_last).train(w.mode == "train")
    images = torch.from_numpy(peer.images(w)).permute(0, 3, 1, 2)  # channels_last as it is
    if w.mode == "train":
        step = training(network, images, torch.from_numpy(peer.labels(w)))
    else:
        step = inference(network, images)
    peer.serve(w, f"PyTorch {torch.__version__}" + (" compiled" if COMPILE else ""), step)


main()
