"""Options of execution providers that an artifact may carry.

Providers have options that write caches and dumps, read files, load libraries, and take addresses
of memory.  A user who loads a model may set them; the model itself may not.  So the options in an
MLmodel file are checked against this list; a provider that is not on it may have none there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_WORD = r"[A-Za-z0-9_.:+-]{1,64}"
_PLAIN = re.compile(_WORD)
_LIST = re.compile(rf"{_WORD}(,{_WORD}){{0,63}}")
_LOAD_CONFIG = "load_config"

_OPTIONS: Mapping[str, frozenset[str]] = {
    name: frozenset(options.split())
    for name, options in {
        "CPUExecutionProvider": "arena_extend_strategy use_arena",
        "CUDAExecutionProvider": """
            arena_extend_strategy cudnn_conv1d_pad_to_nc1d cudnn_conv_algo_search
            cudnn_conv_use_max_workspace device_id do_copy_in_default_stream
            enable_cuda_graph enable_skip_layer_norm_strict_mode fuse_conv_bias gpu_mem_limit
            prefer_nhwc sdpa_kernel tunable_op_enable tunable_op_max_tuning_duration_ms
            tunable_op_tuning_enable use_ep_level_unified_stream use_tf32""",
        "TensorrtExecutionProvider": """
            device_id trt_auxiliary_streams trt_bf16_enable trt_build_heuristics_enable
            trt_builder_optimization_level trt_context_memory_sharing_enable trt_cuda_graph_enable
            trt_detailed_build_log trt_dla_core trt_dla_enable trt_fp16_enable
            trt_force_sequential_engine_build trt_int8_enable trt_layer_norm_fp32_fallback
            trt_max_partition_iterations trt_max_workspace_size trt_min_subgraph_size
            trt_op_types_to_exclude trt_profile_max_shapes trt_profile_min_shapes
            trt_profile_opt_shapes trt_sparsity_enable""",
        "OpenVINOExecutionProvider": """
            device_id device_type disable_dynamic_shapes enable_opencl_throttling
            enable_qdq_optimizer inference_precision layout load_config model_priority
            num_of_threads num_streams precision reshape_input""",
        "WebGpuExecutionProvider": """
            deviceId enableGraphCapture enableInt64 preferredLayout powerPreference
            validationMode""",
        "DmlExecutionProvider": """
            device_id disable_metacommands device_filter enable_graph_capture
            performance_preference""",
        "MIGraphXExecutionProvider": """
            device_id migraphx_bf16_enable migraphx_exhaustive_tune migraphx_fp16_enable
            migraphx_fp8_enable migraphx_mem_limit""",
        "ROCMExecutionProvider": """
            arena_extend_strategy device_id do_copy_in_default_stream gpu_mem_limit
            miopen_conv_exhaustive_search miopen_conv_use_max_workspace tunable_op_enable""",
        "QNNExecutionProvider": """
            backend_type device_id enable_htp_fp16_precision htp_arch
            htp_graph_finalization_optimization_mode htp_performance_mode
            offload_graph_io_quantization qnn_context_priority rpc_control_latency soc_model
            vtcm_mb""",
        "CoreMLExecutionProvider": """
            AllowLowPrecisionAccumulationOnGPU EnableOnSubgraphs MLComputeUnits ModelFormat
            RequireStaticInputShapes SpecializationStrategy""",
        "XnnpackExecutionProvider": "intra_op_num_threads",
        "CANNExecutionProvider": """
            arena_extend_strategy device_id do_copy_in_default_stream enable_cann_graph
            npu_mem_limit op_select_impl_mode optypelist_for_implmode precision_mode""",
    }.items()
}
# Allowed properties in OpenVINO's `load_config`; others name cache folders, plug-ins and dumps.
_OPENVINO_PROPERTIES = frozenset(
    (
        "DYNAMIC_QUANTIZATION_GROUP_SIZE",
        "ENABLE_CPU_PINNING",
        "ENABLE_HYPER_THREADING",
        "EXECUTION_MODE_HINT",
        "INFERENCE_NUM_THREADS",
        "INFERENCE_PRECISION_HINT",
        "KV_CACHE_PRECISION",
        "MODEL_PRIORITY",
        "NUM_STREAMS",
        "PERFORMANCE_HINT",
        "PERFORMANCE_HINT_NUM_REQUESTS",
        "SCHEDULING_CORE_TYPE",
    )
)
_MOST = 4096  # characters in `load_config`


def check_options_of_artifact(provider: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError unless an artifact may have these options for that provider."""
    allowed = _OPTIONS.get(provider, frozenset())
    for name, value in options.items():
        if name not in allowed:
            raise ValueError(
                f"option {name!r} of {provider!r} is none that a model may carry, since it might"
                " touch files or load code; give it when the model is loaded"
            )
        text = str(value)
        holds = _is_harmless_config(text) if name == _LOAD_CONFIG else _LIST.fullmatch(text)
        if not holds:
            raise ValueError(
                f"option {name!r} of {provider!r} cannot be {text[:200]!r} in a model; give it"
                " when the model is loaded"
            )


def _is_harmless_config(text: str) -> bool:
    """Return whether the text is JSON (not a file's path) of properties that touch no file."""
    if len(text) > _MOST:
        return False
    try:
        devices = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(devices, dict) and all(
        isinstance(properties, dict)
        and all(
            name in _OPENVINO_PROPERTIES and _PLAIN.fullmatch(str(value))
            for name, value in properties.items()
        )
        for properties in devices.values()
    )
