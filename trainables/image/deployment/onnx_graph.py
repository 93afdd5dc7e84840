"""The exported graph: uint8 images of any size in, probabilities out; and the one ONNX file that holds it."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainables.errors import NotExportable
from trainables.image.deployment.agreement import check_file
from trainables.image.deployment.onnx_resize import put_before
from trainables.image.package import INPUT, OUTPUT, PackageFacts

if TYPE_CHECKING:
    import onnx

OPSET = 20
MOST_BYTES = 2 * 1024**3 - 64 * 1024**2
"""Of weights in one ONNX file: a Protobuf message ends at 2 GiB, and the graph needs a little, too."""
NOISY_LOGGERS = ("torch.onnx", "torch.export", "torch._dynamo", "torch.fx", "onnxscript", "onnx_ir")


class DeployedClassifier(nn.Module):
    """From the pixels of squares to probabilities, as one module; `onnx_resize` makes the squares."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        multilabel: bool,
        temperature: float | None = None,
    ) -> None:
        """Wraps a trained model.

        Args:
            model: (N, C, H, W) normalised floats → (N, classes) logits.
            mean: of each channel, for pixels in [0, 1].
            std: as `mean`.
            multilabel: sigmoid instead of softmax.
            temperature: what the logits are divided by; None: they are taken as they are.
        """
        super().__init__()
        self.model = model
        self.multilabel = multilabel
        self.temperature = temperature
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, resolution, resolution, C) uint8 → (N, classes) float32 probabilities."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.model((pixels / 255.0 - self.mean) / self.std)
        if self.temperature is not None:
            logits = logits / self.temperature
        return logits.sigmoid() if self.multilabel else logits.softmax(dim=-1)


def write_onnx(classifier: DeployedClassifier, facts: PackageFacts, path: Path) -> None:
    """Exports the graph into one ONNX file.

    The input is `images`, uint8 (batch, height, width, channels) with batch, height and width free; the output
    is `probabilities`, float32 (batch, classes). What the exporter notes of this machine (source files, stack
    traces) is left out.

    Args:
        classifier: on the CPU, in evaluation mode.
        facts: become the file's metadata.
        path: the file to write.

    Raises:
        NotExportable: the model is too large for one file, or has no valid translation.
    """
    num_bytes = sum(tensor.nbytes for tensor in classifier.state_dict().values())
    if num_bytes > MOST_BYTES:
        raise NotExportable(
            f"the model's weights take {num_bytes / 1024**3:.1f} GiB, and one ONNX file holds less than 2 GiB: "
            "export no ONNX (export.formats: []) or search smaller models"
        )
    try:
        _write(classifier, facts, path)
    except NotExportable:
        # Attention in one call is for four dimensions only: Hiera, NesT and others have five. Step by step it has any.
        with _plain_attention(classifier) as changed:
            if not changed:
                raise
            _write(classifier, facts, path)


def _write(classifier: DeployedClassifier, facts: PackageFacts, path: Path) -> None:
    import onnx

    # A batch of 1 the exporter would take for a rule.
    size = facts.input_resolution
    example = torch.zeros(2, size, size, facts.channels, dtype=torch.uint8)
    free = {0: torch.export.Dim("batch")}
    with _quiet(), _uncollected(), _out_of_place(classifier), torch.no_grad():
        try:
            program = torch.onnx.export(
                classifier,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=(free,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                external_data=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise NotExportable(f"the model has no ONNX translation: {_first_line(error)}") from error
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    try:
        proto = put_before(proto, size, facts.channels, facts.fit)
    except onnx.checker.ValidationError as error:  # of gemma4_vit the exporter writes nodes out of order
        raise NotExportable(f"the model's ONNX translation is not valid: {_first_line(error)}") from error
    for key, value in facts.to_metadata().items():
        proto.metadata_props.add(key=key, value=value)
    path.write_bytes(proto.SerializeToString())
    check_file(path)


@contextlib.contextmanager
def _plain_attention(model: nn.Module) -> Iterator[bool]:
    """timm's attention layers compute in single steps meanwhile; gives whether there are any."""
    fused = [module for module in model.modules() if getattr(module, "fused_attn", False) is True]
    for module in fused:
        module.fused_attn = False  # type: ignore[assignment]
    try:
        yield bool(fused)
    finally:
        for module in fused:
            module.fused_attn = True  # type: ignore[assignment]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collections meanwhile: tracing makes so many small objects that these take a third of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _out_of_place(model: nn.Module) -> Iterator[None]:
    """Activations write into new tensors meanwhile: the graph is the same, and is traced in half the time.

    The exporter takes an activation in place apart into its arithmetic, and puts it together again.
    """
    inplace = [module for module in model.modules() if getattr(module, "inplace", False) is True]
    for module in inplace:
        module.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in inplace:
            module.inplace = True  # type: ignore[assignment]


def _strip(proto: onnx.ModelProto) -> None:
    """Removes what the exporter wrote for its own debugging: source paths, stack traces, module names."""
    del proto.metadata_props[:]
    for holder in (proto.graph, *proto.functions):
        del holder.metadata_props[:]
        holder.doc_string = ""
        for node in holder.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in holder.value_info:
            del value.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    if found := re.search(r"target=torch\.ops\.([\w.]+)", str(cause)):  # a line that nobody can read
        return f"none of {found[1]}"
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter, which prints, warns and logs about itself; its failures are exceptions."""
    loggers = [logging.getLogger(name) for name in NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
