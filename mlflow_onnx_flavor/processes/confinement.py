"""Keep credentials from child processes, since these may load a pickle that reads them.

Three measures stand between such a child and its parent's secrets:

1. It is started with the variables of an allow-list (`allowed_variables`).
2. The parent is not dumpable (`hide_this_process`): no other process of this user can read its
   memory or ``/proc/PARENT/environ``, nor can root without CAP_SYS_PTRACE.
3. The child puts itself in a Landlock domain (`confine_this_process`), whose members cannot read
   or trace any process outside it, neither the parent nor, for example, the parent's shell.  It
   also gives up the capabilities that reach into other processes and into the kernel, and cannot
   gain any.

The child can still read the files that this user may read (``~/.aws/credentials``) and use the
network.  A child of root can read every file of the machine, those of other users included.  The
second and third measure work on Linux alone; Landlock needs Linux 5.13 and must be enabled.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Mapping

LINUX = sys.platform == "linux"

# Variables that a process needs to start, and that configure numeric libraries and frameworks.
_ALLOWED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "TZ"),
        *("TMPDIR", "TEMP", "TMP", "PWD", "OLDPWD", "SHLVL", "_", "HOSTNAME"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PROJ_LIB", "PYTEST_CURRENT_TEST"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "CPATH", "CC", "CXX"),
        *("SYSTEMROOT", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE"),
        *("HF_HOME", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "CUDA_HOME", "CUDA_PATH"),
        *("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL", "MLFLOW_DFS_TMP", "MLFLOW_ENV_ROOT"),
        *("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "MLFLOW_ALLOW_MODEL_CODE_EXECUTION"),
        *("SOURCE_DATE_EPOCH", "NO_COLOR", "DO_NOT_TRACK"),
    }
)
_ALLOWED_PREFIXES = (
    *("LC_", "PYTHON", "XDG_", "FONTCONFIG_", "MPL", "COVERAGE_", "COV_CORE_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "VECLIB_", "NPY_"),
    *("LOKY_", "JOBLIB_", "SKLEARN_", "TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "ATEN_"),
    *("TF_", "TF2_", "KERAS_", "XLA_", "JAX_", "TRANSFORMERS_", "TOKENIZERS_"),
    *("CUDA_", "CUDNN_", "NVIDIA_", "NCCL_", "ROCR_", "HIP_", "MIGRAPHX_", "TENSORRT_"),
    *("ORT_", "ONNX", "OPENVINO_", "OV_", "ONEDNN_", "DNNL_", "MALLOC_", "GLIBC_"),
)
# A variable with one of these words in its name is not passed on, even if it is allowed above.
_SECRET_WORDS = ("PASSWORD", "PASSWD", "TOKEN_", "SECRET", "CREDENTIAL", "API_KEY", "ACCESS_KEY")
MORE_VARIABLES = "MLFLOW_ONNX_CHILD_VARIABLES"  # comma-separated names that the user allows

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 24, 38
# CAP_SYS_MODULE, _RAWIO, _PTRACE, _ADMIN, _BOOT, PERFMON, BPF, CHECKPOINT_RESTORE
_CAPABILITIES = (16, 17, 19, 21, 22, 38, 39, 40)
_CAPABILITY_VERSION_3 = 0x20080522
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_MAKE_CHAR = (
    1 << 6
)  # creating a device, which no model needs: a domain must forbid at least one action


def allowed_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables among ``variables`` that a child process is given."""
    more = {each.strip() for each in variables.get(MORE_VARIABLES, "").split(",")} - {""}
    return {
        name: value
        for name, value in variables.items()
        if name in more or _is_allowed(name.upper())
    }


def _is_allowed(name: str) -> bool:
    if any(word in f"{name}_" for word in _SECRET_WORDS):
        return False
    return name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)


def hide_this_process() -> None:
    """Keep other processes of this user from reading this one's memory and variables.

    The process then leaves no core dump, and debuggers of the same user cannot attach.
    """
    if LINUX:
        _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def confine_this_process() -> bool:
    """Cut this process, and all that it starts, off from the processes that exist already.

    Returns whether the system supports it (Landlock).  Measures that it does not support are
    skipped.
    """
    if not LINUX:
        return False
    libc = _libc()
    for number in _CAPABILITIES:
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    _give_up_capabilities(libc)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    forbidden = ctypes.create_string_buffer(struct.pack("=Q", _LANDLOCK_MAKE_CHAR), 8)
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, forbidden, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        return bool(libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _give_up_capabilities(libc: ctypes.CDLL) -> None:
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    held = ctypes.create_string_buffer(
        24
    )  # effective, permitted, inheritable; low words, then high
    if libc.capget(header, held) != 0:
        return
    words = list(struct.unpack("=6I", held.raw))
    for number in _CAPABILITIES:
        for kind in range(3):
            words[3 * (number // 32) + kind] &= ~(1 << number % 32)
    held.raw = struct.pack("=6I", *words)
    libc.capset(header, held)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
