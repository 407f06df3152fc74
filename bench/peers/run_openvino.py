"""OpenVINO's CPU device on the network that PyTorch exported."""

import numpy as np
import openvino
import peer


def main():
    w = peer.workload()
    core = openvino.Core()
    network = core.read_model(w.onnx)
    network.reshape([w.batch, 3, w.size, w.size])
    config = {
        "INFERENCE_NUM_THREADS": w.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
        "ENABLE_HYPER_THREADING": True,
    }
    request = core.compile_model(network, "CPU", config).create_infer_request()
    images = np.ascontiguousarray(peer.images(w).transpose(0, 3, 1, 2))
    version = openvino.get_version().split("-")[0]
    peer.serve(
        w, f"OpenVINO {version}", lambda: request.infer([images], share_inputs=True)[0]
    )


main()
