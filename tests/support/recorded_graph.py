"""A CUDA graph's stand-in on a CPU: what is captured is written down kernel by kernel, and replayed from that alone.

As with a real graph, a replay runs no line of Python: every number, decision and tensor is the one of the capture, and
only what lies in memory at the same place may be another. Capturing leaves no trace, and a value that is read while
capturing ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainables.image.training.graph import Captured, Result

aten = torch.ops.aten

_READS = (
    aten._local_scalar_dense.default,
    aten.is_nonzero.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
)


def recorded_capture(run: Callable[[], Result]) -> Captured:
    """Captures like `cuda_capture`.

    Raises:
        RuntimeError: a value was read.
    """
    random, recorder = torch.get_rng_state(), _Recorder()
    try:
        with recorder:
            result = run()
    finally:
        recorder.undo()
        torch.set_rng_state(random)
    return Captured(recorder.replay, lambda: result)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._kernels: list[tuple[Any, Sequence[Any], Mapping[str, Any], Any]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _READS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        for tensor in _written(func, args, kwargs):
            storage = tensor.untyped_storage()
            self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        found = func(*args, **kwargs)
        self._kernels.append((func, args, kwargs, found))  # keeps all of it alive, so no place is used twice
        return found

    def undo(self) -> None:
        """Puts back what was written: capturing runs nothing."""
        for storage, before in self._before.values():
            storage.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, found in self._kernels:
            again = func(*args, **kwargs)
            for place, value in zip(_tensors(found), _tensors(again), strict=True):
                if place.data_ptr() != value.data_ptr():  # else it is a view, or was written in place
                    place.copy_(value)


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    if func is aten.native_batch_norm.default:  # its schema does not say that it moves the running statistics
        yield from _tensors(args[3:5])
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from _tensors(args[place] if place < len(args) else kwargs.get(argument.name))


def _tensors(found: Any) -> list[torch.Tensor]:
    return [one for one in tree_leaves(found) if isinstance(one, torch.Tensor)]
