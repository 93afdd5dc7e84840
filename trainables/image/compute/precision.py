"""Chooses the number format of a trial where `mixed_precision` is auto: by device, and on a CPU by model family.

On a GPU, by its compute capability:

- from 8.0 (Ampere and later; every GPU with ROCm): `auto` is bf16.
- below (Volta and Turing have tensor cores for fp16 alone): `auto` is `no`, float32. fp16 has to be asked for: it
  scales losses and skips the steps that overflow, which changes what a trial learns. bf16 is emulated there, and slow.

TF32 is no value of `mixed_precision`. It is a setting of PyTorch for what remains float32, and left as it is there: off
for matrix products, on for convolutions (cuDNN, from 8.0). So `no` means float32 in linear layers and attention, and
TF32 in a GPU's convolutions. A user's own module that sets it (`torch.set_float32_matmul_precision`) is not overruled.

Source: PyTorch, "CUDA semantics", TensorFloat-32; `torch.cuda.is_bf16_supported`.

On a CPU with bfloat16 instructions (AVX-512), training on one core, batches of 32, images/s in bfloat16 are, as a
multiple of float32, channels last in both: resnet18 at 128 px 1.9, resnet10t at 64 px 1.5, resnext50_32x4d at 64 px
1.6, convnext_tiny at 96 px 2.4, vit_tiny at 96 px 1.7, simple_cnn3 at 64 px 2.6; but mobilenetv3_large_100 at 96 px
0.52, mobilenetv2_100 0.66, efficientnet_b0 0.49, shufflenet_v2_x1_0 0.53. What the losers share is depthwise
convolutions with batch normalisation: they move data more than they compute, and the casts move it once more.

Small pictures stay in float32 on a CPU: where a strided convolution meets a feature map of one pixel (resnet10t and
resnet18 at 16 px), its bfloat16 gradients differed from run to run in PyTorch 2.15, and were NaN once; at 32, 64 and
128 px they did not, whatever memory held before.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import nn

from trainables.errors import TrainableError
from trainables.image.config import Precision

_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # x86 and Arm; without them bfloat16 is emulated


_MIN_RESOLUTION = 64  # twice what was seen to be exact
_BF16_CAPABILITY = (8, 0)


def chosen_precision(precision: Precision, net: nn.Module, resolution: int) -> Precision:
    """What `mixed_precision` means for this model on this machine: `no`, `bf16` or `fp16`.

    Args:
        precision: as in the config.
        net: the model that is to be trained.
        resolution: of its input, in pixels.

    Raises:
        TrainableError: fp16 without a GPU.
    """
    gpu = torch.cuda.is_available()
    if precision == "fp16" and not gpu:
        raise TrainableError("mixed_precision fp16 needs a GPU, but there is none: use bf16, auto or no")
    if precision != "auto":
        return precision
    if gpu:
        return gpu_precision(torch.cuda.get_device_capability(), rocm=torch.version.hip is not None)
    return "bf16" if resolution >= _MIN_RESOLUTION and cpu_has_bf16() and not is_separable(net) else "no"


def gpu_precision(capability: tuple[int, int], *, rocm: bool = False) -> Precision:
    """What `auto` means on a GPU.

    Args:
        capability: of the GPU, as `torch.cuda.get_device_capability` has it.
        rocm: it is one of AMD's, whose capabilities are numbered otherwise; all that PyTorch supports have bf16.
    """
    return "bf16" if rocm or capability >= _BF16_CAPABILITY else "no"


def is_separable(net: nn.Module) -> bool:
    """Whether a model is of depthwise convolutions with batch normalisation, as MobileNet and EfficientNet are."""
    modules = list(net.modules())
    depthwise = any(isinstance(one, nn.Conv2d) and one.groups == one.in_channels > 1 for one in modules)
    return depthwise and any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in modules)


@functools.cache
def cpu_has_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16 (by what Linux says of it)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not _BF16_FLAGS.isdisjoint(flags.partition(":")[2].split())
