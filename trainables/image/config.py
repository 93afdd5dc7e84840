"""Every hyperparameter of the image classifier: type, range, default, one line of help."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Pooling = Literal["avg", "max", "avgmax", "catavgmax"]
Finetune = Literal["head", "full", "scratch"]
Color = Literal["rgb", "grayscale"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine"]
Augment = Literal["none", "light", "randaugment"]
Precision = Literal["no", "bf16", "fp16", "auto"]

WEIGHT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


class ImageConfig(BaseModel):
    """One configuration of the image classifier.

    Combinations that cannot work are found by `ImageClassifier.check`; here each field stands alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field(
        "mobilenetv3_small_100",
        min_length=1,
        description="A timm model (also by its torchvision name), or one of our own: simple_cnn3, mlp6.",
    )
    pretrained: bool | Annotated[str, Field(min_length=1)] = Field(
        True,
        description="true: published weights, where the model has any; false: none; or a path to a weight file "
        "(.pth, .pt, .bin, .safetensors) with a timm state dict of the model.",
    )
    finetune: Finetune = Field(
        "full", description="head: train the classifier on frozen features; full: train all; scratch: use no weights."
    )
    pooling: Pooling = Field("avg", description="How the feature map becomes one vector.")
    input_resolution: int = Field(128, ge=8, le=2048, description="Height and width of the input in pixels.")
    color: Color = Field("rgb", description="rgb: three channels; grayscale: one.")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout rate before the classifier.")
    width: int | None = Field(
        None, ge=1, le=4096, description="Own nets only: channels of the first layer; empty: the net's own default."
    )

    optimizer: Optimizer = Field("adamw", description="adam, adamw, or sgd (with momentum).")
    lr: float = Field(1e-3, gt=0.0, le=100.0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Momentum of sgd; the others do not read it.")
    weight_decay: float = Field(
        1e-4, ge=0.0, le=10.0, description="Weight decay; biases and normalisation layers are left out."
    )
    schedule: Schedule = Field(
        "cosine", description="constant: lr stays; cosine: lr falls towards 0 along half a cosine."
    )
    warmup_epochs: float = Field(0.0, ge=0.0, description="lr rises linearly during these epochs.")
    epochs: int = Field(10, ge=1, le=100_000, description="How often every training example is seen: the fidelity.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Examples in one optimizer step.")
    label_smoothing: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of the target spread evenly over the classes."
    )
    augment: Augment = Field(
        "none",
        description="none; light: mirror, small shifts, colour jitter; randaugment: mirror, two random operations.",
    )
    mixed_precision: Precision = Field("auto", description="no, bf16, fp16 (GPU only); auto: bf16 on GPUs that can.")
    seed: int | None = Field(
        None, ge=0, lt=2**32, description="Of weights, order and augmentation; empty: derived from the sweep's seed."
    )

    @property
    def num_channels(self) -> int:
        """Channels of the input: 3 or 1."""
        return 3 if self.color == "rgb" else 1

    @property
    def weights_path(self) -> str | None:
        """The local weight file as written, None without one (or when training from scratch)."""
        return self.pretrained if isinstance(self.pretrained, str) and self.finetune != "scratch" else None

    @property
    def wants_weights(self) -> bool:
        """Whether training starts from weights (if the model has any)."""
        return bool(self.pretrained) and self.finetune != "scratch"
