"""ONNX Runtime on the network that PyTorch exported."""

import numpy as np
import onnxruntime
import peer


def main():
    w = peer.workload()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = w.threads
    options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("batch", w.batch)
    session = onnxruntime.InferenceSession(w.onnx, options, providers=["CPUExecutionProvider"])
    images = np.ascontiguousarray(peer.images(w).transpose(0, 3, 1, 2))
    peer.serve(
        w,
        f"ONNX Runtime {onnxruntime.__version__}",
        lambda: session.run(["logits"], {"images": images})[0],
    )


main()
