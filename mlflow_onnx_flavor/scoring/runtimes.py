"""Names of the packages that can run a graph: builds of onnxruntime and plug-ins.

Nothing is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Plugin:
    """A plug-in provider: ``module`` has ``get_library_path()``; ``package`` installs it."""

    name: str
    module: str
    package: str


PLUGINS = {
    plugin.name: plugin
    for plugin in (
        Plugin("OpenVINOExecutionProvider", "onnxruntime_ep_openvino", "onnxruntime-ep-openvino"),
        Plugin("WebGpuExecutionProvider", "onnxruntime_ep_webgpu", "onnxruntime-ep-webgpu"),
        Plugin("ggml", "onnxruntime_ggml", "onnxruntime-ggml"),
    )
}

# Builds of onnxruntime with the provider compiled in; each replaces the plain onnxruntime.
BUILDS = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "DmlExecutionProvider": "onnxruntime-directml",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "QNNExecutionProvider": "onnxruntime-qnn",
    "CANNExecutionProvider": "onnxruntime-cann",
}
