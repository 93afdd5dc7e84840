"""Training steps and validation as CUDA graphs: one launch instead of some thousand, which bound small networks.

A few steps run one kernel at a time, then a batch of the same shape is captured, and from there on each such batch is
copied into the graph's input and the graph is replayed. What differs from step to step is in tensors on the device:
pixels and targets, what was drawn for augmentation and mixing, learning rates, the optimizer's step counts, the scale
of fp16's losses, the decay of averaged weights, and the state of the random numbers of dropout and its like (PyTorch
registers its generator with a graph). Everything else runs as ever: the last batch of an epoch where it is smaller, and
augmentation that does different work by what was drawn.

Source: PyTorch, "CUDA Graphs", whole-network capture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from trainables.image.config import ImageConfig
from trainables.image.parallel.workers import Workers

Result = tuple[torch.Tensor, ...]
"""Of a training step the mean loss, a scalar, and what was decided, (N,) or (N, C); of the model on val the logits."""
Run = Callable[..., Result]
"""Tensors on the device → the result; of a training step with the weights moved on."""

WARM_UP_STEPS = 3
"""Run one kernel at a time before a capture: the optimizer makes its state in the first, and libraries choose their
algorithms."""
FUSED = ("adam", "adamw", "sgd")
"""Optimizers that skip a step whose fp16 gradients overflow on the device itself."""
CAPTURABLE = (
    *FUSED, "adamax", "adamc", "adamuon", "adopt", "adoptw", "clion", "lion", "muon", "nadam", "nadamw", "radam",
    "rmsproptf",
)  # fmt: skip
"""Optimizers that keep all that changes from step to step on the device. The others read a value back in each step, or
compute a factor of it in Python."""


@dataclass(frozen=True)
class Captured:
    """What was captured.

    Attributes:
        replay: runs it on what lies in its input.
        result: where each replay puts what it gives.
    """

    replay: Callable[[], object]
    result: Callable[[], Result]


Capture = Callable[[Callable[[], Result]], Captured]
"""Captures a function of no arguments, without running it."""


def cuda_capture(run: Callable[[], Result]) -> Captured:
    """Captures on the current GPU."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Meanwhile the thread that reads ahead may pin memory: that is no part of the capture, and must not end it.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = run()
    return Captured(graph.replay, lambda: result)


def why_not(
    config: ImageConfig, device: torch.device, workers: Workers, *, scales_losses: bool, takes_turns: bool = False
) -> str | None:
    """Why a trial's steps cannot be captured, in words; None when they can.

    Args:
        config: of the trial.
        device: it trains on.
        workers: that train together.
        scales_losses: as fp16 does.
        takes_turns: the net leaves the GPU between epochs, as with folds.
    """
    if device.type != "cuda":
        return "there is no GPU"
    if workers.number > 1:
        return "several workers exchange gradients in each step"
    if takes_turns:
        return "the models of the folds take turns on the GPU, and a graph is of fixed places in its memory"
    if config.optimizer not in CAPTURABLE:
        return f"{config.optimizer} needs the CPU in each step ({', '.join(CAPTURABLE)} do not)"
    if scales_losses and config.optimizer not in FUSED:
        return f"with fp16 {config.optimizer} waits for its gradients in each step ({', '.join(FUSED)} do not)"
    return None


def left_out(config: ImageConfig) -> str:
    """What is not captured where augmentation cannot be, in words."""
    return f"augmentation runs one kernel at a time: which kernels {config.augment} needs differs from batch to batch"


def keep_on_device(optimizer: torch.optim.Optimizer, device: torch.device | None) -> None:
    """Has an optimizer keep learning rates and step counts on a device, as a graph wants; None: as plain numbers.

    Call it after a checkpoint was loaded, whose trial may have had the other.
    """
    for group in optimizer.param_groups:
        group["lr"] = float(group["lr"]) if device is None else torch.tensor(float(group["lr"]), device=device)
        if "capturable" not in group:
            continue
        group["capturable"] = device is not None
        if device is None and group.get("fused"):
            continue  # what it counts is on the device in either way
        for state in (optimizer.state.get(parameter, {}) for parameter in group["params"]):
            counts = {name: one for name, one in state.items() if isinstance(one, torch.Tensor) and not one.ndim}
            state.update({name: one.to(device or "cpu") for name, one in counts.items()})


class GraphRun:
    """A training step, or the model on a batch of val, that is captured when it has warmed up.

    Attributes:
        num_runs: so far.
        num_replayed: of them by the graph.
        why_eager: why the capture failed; empty: it has not.
    """

    def __init__(
        self,
        plain: Run,
        to_capture: Run | None = None,
        capture: Capture | None = None,
        what: str = "steps",
        undo: Callable[[], object] | None = None,
        warn: Callable[[str], object] = print,
    ) -> None:
        """Args:
        plain: runs one kernel at a time; leaves no gradients behind.
        to_capture: the same of a batch that is known to fit in memory, with nothing that decides by values; None:
            `plain` is like that.
        capture: makes a graph of it; by default `cuda_capture`.
        what: is run, in words.
        undo: removes what a capture that failed half-way has left behind.
        warn: is told of a capture that failed.
        """
        self.num_runs = self.num_replayed = 0
        self.why_eager = ""
        self._plain = plain
        self._to_capture = to_capture or plain
        self._capture = capture or cuda_capture
        self._what = what
        self._undo = undo
        self._warn_of = warn
        self._captured: Captured | None = None
        self._inputs: tuple[torch.Tensor, ...] | None = None
        self._warm = 0

    def __call__(self, *given: torch.Tensor) -> Result:
        """Runs a batch; the result is the caller's."""
        self.num_runs += 1
        if self.why_eager:
            return self._plain(*given)
        if self._inputs is None:
            self._inputs = tuple(torch.empty_like(one) for one in given)
        if not all(_alike(here, one) for here, one in zip(self._inputs, given, strict=True)):
            return self._plain(*given)
        if self._captured is None and self._warm < WARM_UP_STEPS:
            self._warm += 1
            return self._on_a_stream_beside(*given)
        for here, one in zip(self._inputs, given, strict=True):
            here.copy_(one, non_blocking=True)
        if self._captured is None and not self._try_capture():
            return self._plain(*given)
        assert self._captured is not None
        self._captured.replay()
        self.num_replayed += 1
        return tuple(one.clone() for one in self._captured.result())  # the next replay writes into the same memory

    def _on_a_stream_beside(self, *given: torch.Tensor) -> Result:
        """Runs a batch one kernel at a time as PyTorch asks for before a capture: what autograd keeps of the stream
        that it ran on must not be of the default one, with which a capture cannot wait."""
        device = self._inputs[0].device if self._inputs else torch.device("cpu")
        if device.type != "cuda":
            return self._plain(*given)
        here, beside = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            result = self._plain(*given)
        here.wait_stream(beside)
        return result

    def _try_capture(self) -> bool:
        """Captures, which runs nothing; whether it worked. If not, all goes on as before, from where it was."""
        assert self._inputs is not None
        inputs = self._inputs
        state = torch.cuda.get_rng_state(inputs[0].device) if inputs[0].device.type == "cuda" else None
        try:
            self._captured = self._capture(lambda: self._to_capture(*inputs))
        except (RuntimeError, ValueError) as error:
            self.why_eager = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._inputs = None
        if self.why_eager:
            if state is not None:
                torch.cuda.set_rng_state(state, inputs[0].device)
            if self._undo is not None:
                self._undo()
            self._warn_of(
                f"graph: {self._what} run one kernel at a time, since they could not be captured: {self.why_eager}"
            )
        return self._captured is not None

    @property
    def fraction(self) -> float:
        """Which share of the runs so far was the graph's."""
        return self.num_replayed / max(1, self.num_runs)


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.stride() == other.stride()
