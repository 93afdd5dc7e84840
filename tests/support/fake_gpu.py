"""A GPU that is not there: its tensors have shapes, types and a device, but no values.

Tensors on the CPU are real, so that everything that is drawn or decided there is as ever. Those on `cuda` are PyTorch's
fake tensors: an operation that mixes the two devices is refused as by a real GPU, what is read from the device is ones,
and each read is counted. No driver is needed, and nothing is computed.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

aten = torch.ops.aten

DEVICE = torch.device("cuda", 0)
_SCALAR_READS = (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default)
_SHAPES_BY_VALUE = (aten.nonzero.default, aten.masked_select.default, aten._unique2.default)


class FakeGpu(TorchDispatchMode):
    """Inside, `torch.device("cuda")` may be used.

    Attributes:
        reads: what was read from the device so far: the operation, and the line of ours that asked for it.
        num_operations: that ran on the device.
        captured: inside `torch.cuda.graph`, each kernel with what it takes from Python, which a replay has unchanged.
            There a read is refused, and so is a tensor of the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.num_operations = 0
        self.captured: list[tuple[str, str]] = []
        self._captures = False
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __enter__(self) -> FakeGpu:
        with contextlib.ExitStack() as stack:
            for patched in (*_patches(), mock.patch("torch.cuda.graph", self._capturing)):
                stack.enter_context(patched)
            stack.enter_context(self._fake)
            self._stack = stack.pop_all()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._stack.close()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        there = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, FakeTensor)]
        goes_there = device is not None and torch.device(device).type == "cuda"
        if not there and not goes_there:
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        self.num_operations += 1
        if self._captures:
            here = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
            if len(here) > len(there):
                raise RuntimeError(f"operation not permitted when stream is capturing: {func} with a tensor of the CPU")
            plain = [one for one in tree_flatten((args, kwargs))[0] if not isinstance(one, torch.Tensor)]
            self.captured.append((str(func), str(plain)))
        if func in _SCALAR_READS:
            self._read(func)
            return {torch.bool: True}.get(there[0].dtype, 1.0 if there[0].is_floating_point() else 1)
        # In inference mode `to` comes as it is, not as the copy that it makes.
        if device is not None and torch.device(device).type == "cpu" and _name(func) in ("_to_copy", "to"):
            self._read(func)
            with unset_fake_temporarily():
                return torch.ones(there[0].shape, dtype=kwargs.get("dtype") or there[0].dtype)
        if func is aten.copy_.default and not isinstance(args[0], FakeTensor):
            if not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False)):
                self._read(func)
            with unset_fake_temporarily():
                return args[0].fill_(1)
        if func in _SHAPES_BY_VALUE or _indexes_by_mask(func, args):
            self._read(func)
            if func is aten.nonzero.default:
                return torch.empty((0, there[0].ndim), dtype=torch.int64, device=DEVICE)
            raise NotImplementedError(f"{func}: a shape that depends on values on the GPU")
        if _name(func).startswith("_fused_") and _name(func).endswith("_"):  # optimizers: unknown to fake tensors
            assert len({one.device for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)}) == 1
            return None
        with self._fake:
            args, kwargs = tree_map_only(torch.Tensor, self._seen_there, (args, kwargs))
            return func(*args, **kwargs)

    def _seen_there(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self._fake.from_tensor(tensor)

    @contextlib.contextmanager
    def _capturing(self, *_: Any, **__: Any) -> Iterator[None]:
        self._captures = True
        try:
            yield
        finally:
            self._captures = False

    def _read(self, func: Any) -> None:
        if self._captures:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        self.reads.append(f"{func} at {_line()}")


def _name(func: Any) -> str:
    return str(func.overloadpacket.__name__)


def _patches() -> Iterator[contextlib.AbstractContextManager[Any]]:
    """What PyTorch asks of a driver, answered without one."""
    state = torch.zeros(16, dtype=torch.uint8)
    answers: dict[str, Any] = {
        "torch.autograd.backward": _backward,
        "torch.Tensor.pin_memory": lambda tensor, *_: tensor,
        "torch.cuda.reset_peak_memory_stats": None,
        "torch.cuda.max_memory_allocated": 1,
        "torch.cuda.memory_allocated": 1,
        "torch.cuda.max_memory_reserved": 1,
        "torch.cuda.mem_get_info": (1 << 30, 1 << 34),
        "torch.cuda.synchronize": None,
        "torch.cuda.empty_cache": None,
        "torch.cuda.get_rng_state": state,
        "torch.cuda.set_rng_state": None,
        "torch.cuda.CUDAGraph": mock.Mock(),
        "torch.cuda.current_stream": mock.Mock(),
        "torch.cuda.Stream": mock.Mock(),
        "torch.cuda.stream": contextlib.nullcontext(),
        "torch.cuda.Event": mock.Mock(query=lambda: True),
    }
    for name, answer in answers.items():
        yield mock.patch(name, answer if callable(answer) else mock.Mock(return_value=answer))


def _backward(tensors: torch.Tensor, *_: Any, **__: Any) -> None:
    """In place of the engine, which starts a thread per device: each parameter that a loss rests on has a gradient."""
    seen, due = set(), [tensors.grad_fn]
    assert due[0] is not None, "the loss rests on no parameter"
    while due:
        node = due.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        due += [following for following, _ in node.next_functions]
        if (leaf := getattr(node, "variable", None)) is not None:
            with torch.no_grad():
                leaf.grad = torch.empty_like(leaf) if leaf.grad is None else leaf.grad + 0


def _indexes_by_mask(func: Any, args: Sequence[Any]) -> bool:
    if func not in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
        return False
    masks = [one for one in args[1] if one is not None and one.dtype in (torch.bool, torch.uint8)]
    return func is aten.index.Tensor and bool(masks)


def _line() -> str:
    ours = [frame for frame in traceback.extract_stack() if "/trainables/" in frame.filename]
    return f"{ours[-1].filename.partition('/trainables/')[2]}:{ours[-1].lineno}" if ours else "?"


@contextlib.contextmanager
def fake_accelerator(precision: str = "no") -> Iterator[Accelerator]:
    """An Accelerator whose device is the GPU that is not there. Use it inside `FakeGpu`."""
    try:
        accelerator = Accelerator(mixed_precision="no" if precision == "fp16" else precision, cpu=True)
        for state in (PartialState, AcceleratorState):
            state._shared_state["device"] = DEVICE
        AcceleratorState._shared_state["_mixed_precision"] = precision
        if precision == "fp16":
            with mock.patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False):
                accelerator.scaler = torch.amp.GradScaler("cuda")
                accelerator.native_amp = True
        assert accelerator.device == DEVICE
        yield accelerator
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
