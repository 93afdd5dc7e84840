"""Every hyperparameter of the image classifier: type, range, default, one line of help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from trainables.image.choices.losses import AUTO, LOSSES
from trainables.image.choices.metrics import MONITORS
from trainables.image.pixels.fit import CROP_FRACTION, Fit, Resize

Pooling = Literal["native", "avg", "max", "avgmax", "catavgmax", "gem", "token", "map"]
Finetune = Literal["head", "last_n", "full", "scratch"]
Color = Literal["rgb", "grayscale"]
Schedule = Literal["constant", "step", "cosine", "one_cycle", "plateau"]
Augment = Literal["none", "light", "randaugment", "trivialaugment"]
UseFeatures = Literal["auto", "none"]
Precision = Literal["no", "bf16", "fp16", "auto"]
Graph = Literal["auto", "on", "off"]
OnDevice = Literal["auto", "on", "off"]

if TYPE_CHECKING:  # mypy takes no table for a Literal
    Loss: TypeAlias = str
    Monitor: TypeAlias = str
else:
    Loss = Literal[(AUTO, *LOSSES)]
    Monitor = Literal[MONITORS]

WEIGHT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


OTHER_NAMES = {
    "learning_rate": "lr",
    "backbone": "model",
    "arch": "model",
    "architecture": "model",
    "network": "model",
    "image_size": "input_resolution",
    "img_size": "input_resolution",
    "imgsz": "input_resolution",
    "size": "input_resolution",
    "resolution": "input_resolution",
    "batch": "batch_size",
    "num_epochs": "epochs",
    "augmentation": "augment",
    "scheduler": "schedule",
    "amp": "mixed_precision",
    "precision": "mixed_precision",
    "criterion": "loss",
    "patience": "early_stopping_patience",
    "freeze": "finetune",
    "ema": "ema_decay",
}
"""What torchvision's references, timm, Ultralytics, fastai and Lightning call the same."""


class ImageConfig(BaseModel):
    """One configuration of the image classifier.

    Combinations that cannot work are found by `ImageClassifier.check`; here each field stands alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field(
        "mobilenetv3_small_100",
        min_length=1,
        description="A timm model (torchvision's names work, too), torchvision's shufflenet_v2_x1_0, squeezenet1_1 "
        "or googlenet, or a built-in one: simple_cnn3, cnn4, cnn5_avg, mlp6.",
    )
    pretrained: bool | Annotated[str, Field(min_length=1)] = Field(
        True,
        description="true: published weights, if the model has any; false: none; or a path to a weight file "
        "(.pth, .pt, .bin, .safetensors) with a timm state dict of the model, or to a folder with one file per model "
        "(MODEL.pth, MODEL.TAG.safetensors, MODEL_ANYTHING.pth).",
    )
    finetune: Finetune = Field(
        "full",
        description="head: train the classifier on frozen features; last_n: train it and the last unfrozen_blocks; "
        "full: train all; scratch: use no weights.",
    )
    unfrozen_blocks: int = Field(
        1, ge=1, le=1000, description="last_n only: number of blocks before the head that are trained."
    )
    pooling: Pooling = Field(
        "native",
        description="Pooling of the feature map. native: as published (most: avg; vit: "
        "token); gem: generalised mean; token, map: of transformers.",
    )
    input_resolution: int = Field(128, ge=8, le=2048, description="Height and width of the input in pixels.")
    resize: Resize = Field(
        "squash",
        description="Resizing to a square. squash: ignores the aspect ratio; crop: resizes the shorter side to "
        "input_resolution / crop_fraction, then takes the centre crop; pad: resizes the longer side to "
        "input_resolution, and pads with grey.",
    )
    crop_fraction: float = Field(
        CROP_FRACTION, ge=0.5, le=1.0, description="resize: crop only: share of the shorter side that is kept."
    )
    color: Color = Field("rgb", description="rgb: three channels; grayscale: one.")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout rate before the classifier.")
    drop_path: float = Field(0.0, ge=0.0, lt=1.0, description="Drop rate of residual branches (stochastic depth).")
    width: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Built-in models only: channels of the first layer; empty: the model's default.",
    )
    batch_norm: bool | None = Field(
        None,
        description="Built-in convolutional models only: batch normalisation after each convolution; empty: "
        "only in cnn5_avg.",
    )

    loss: Loss = Field(
        "auto",
        description="Loss function. auto: cross_entropy for one label per example, bce for any number; mse and l1 "
        "apply to probabilities. val_loss is always that of auto, so that trials are comparable.",
    )
    pos_weight: float = Field(
        1.0, gt=0.0, le=1000.0, description="Weight of positive labels; cross_entropy ignores it."
    )
    focal_gamma: float = Field(
        2.0, ge=0.0, le=10.0, description="focal: focusing parameter gamma: the higher, the less easy examples count."
    )
    focal_alpha: float | None = Field(
        0.25, ge=0.0, le=1.0, description="focal: weight of positive labels (1 - alpha for negative ones); empty: none."
    )
    asymmetric_gamma_neg: float = Field(4.0, ge=0.0, le=10.0, description="asymmetric: gamma of negative labels.")
    asymmetric_gamma_pos: float = Field(1.0, ge=0.0, le=10.0, description="asymmetric: gamma of positive labels.")

    optimizer: str = Field(
        "adamw",
        min_length=1,
        description="adam, adamw, sgd, adamax, adadelta, rmsprop, radam, lion, or any other that timm.optim knows.",
        examples=["adam", "adamw", "sgd", "adamax", "adadelta", "rmsprop", "radam", "lion", "lamb", "muon", "nadamw"],
    )
    lr: float = Field(1e-3, gt=0.0, le=100.0, description="Peak learning rate.")
    head_lr_multiplier: float = Field(
        1.0,
        gt=0.0,
        le=1000.0,
        description="Factor on lr for the classifier and other layers without pretrained weights.",
    )
    layer_lr_decay: float = Field(
        1.0, gt=0.0, le=1.0, description="Factor on lr from each block to the block before it (layer-wise decay)."
    )
    momentum: float = Field(
        0.9, ge=0.0, lt=1.0, description="Momentum of sgd, rmsprop and similar ones; adam and others ignore it."
    )
    nesterov: bool = Field(False, description="sgd only: Nesterov momentum.")
    weight_decay: float = Field(
        1e-4, ge=0.0, le=10.0, description="Weight decay; not applied to biases and normalisation layers."
    )
    schedule: Schedule = Field(
        "cosine",
        description="Learning rate schedule. constant; step: times lr_gamma every step_epochs; cosine: to 0 along "
        "half a cosine; one_cycle: up for 0.3 of the steps, then down; plateau: times lr_gamma when "
        "monitor does not improve for plateau_patience epochs.",
    )
    lr_gamma: float = Field(0.1, gt=0.0, lt=1.0, description="step and plateau: factor on lr.")
    step_epochs: int | None = Field(
        None, ge=1, description="step: epochs between two decays; empty: a third of epochs."
    )
    plateau_patience: int = Field(2, ge=0, description="plateau: epochs without improvement before lr decays.")
    warmup_epochs: float = Field(0.0, ge=0.0, description="Epochs of linear warm-up.")
    epochs: int = Field(10, ge=1, le=100_000, description="Number of passes over the training examples: the fidelity.")
    monitor: Monitor = Field("val_loss", description="Metric for plateau and early stopping.")
    early_stopping_patience: int | None = Field(
        None,
        ge=1,
        description="Epochs without improvement of monitor before the trial ends; empty: it runs to its end.",
    )
    ema_decay: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Decay of a moving average of the weights, which is evaluated and saved, such as 0.999; 0: no "
        "average.",
    )
    average_weights: int = Field(
        1,
        ge=1,
        le=1000,
        description="Number of last epochs whose weights are averaged; the mean is evaluated and saved, with batch "
        "normalisation's statistics recomputed on train. 1: no average. Suits schedule: constant. Not with ema_decay.",
    )
    batch_size: int = Field(32, ge=1, le=65_536, description="Examples per optimizer step.")
    label_smoothing: float = Field(
        0.0, ge=0.0, lt=1.0, description="Label smoothing: share of the target spread evenly over the classes."
    )
    threshold: Literal["tuned"] | Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.5,
        description="Multi-label data: probability from which a label is predicted; tuned: per label, for the best "
        "F1 on val. It is part of the model package.",
    )
    augment: Augment = Field(
        "none",
        description="Augmentation. none; light: flip, small shifts, colour jitter; randaugment: flip, several random "
        "operations; trivialaugment: flip, one operation of random strength. The options below are added "
        "to it.",
    )
    randaugment_operations: int = Field(2, ge=1, le=10, description="randaugment: operations per image.")
    randaugment_magnitude: float = Field(9.0, ge=0.0, le=30.0, description="randaugment: strength, from 0 to 30.")
    hflip: float = Field(0.0, ge=0.0, le=1.0, description="Probability of a horizontal flip.")
    vflip: float = Field(0.0, ge=0.0, le=1.0, description="Probability of a vertical flip.")
    crop_scale: float = Field(
        1.0, gt=0.0, le=1.0, description="Smallest share of the area that a random crop keeps; 1: no crops."
    )
    rotation_degrees: float = Field(0.0, ge=0.0, le=180.0, description="Maximum rotation, in either direction.")
    color_jitter: float = Field(
        0.0, ge=0.0, le=1.0, description="Maximum relative change of brightness, contrast and saturation."
    )
    invert: float = Field(0.0, ge=0.0, le=1.0, description="Probability of inverting the colours.")
    random_erasing: float = Field(0.0, ge=0.0, le=1.0, description="Probability of erasing a random rectangle.")
    mixup: float = Field(0.0, ge=0.0, le=10.0, description="alpha of mixup; 0: none.")
    cutmix: float = Field(
        0.0,
        ge=0.0,
        le=10.0,
        description="alpha of cutmix; 0: none. With mixup, one of the two per image.",
    )
    mixed_precision: Precision = Field(
        "auto",
        description="no, bf16, fp16 (GPU only); auto: bf16 on GPUs that support it, and on CPUs that support it from "
        "64 px, for model families that it speeds up (not those with depthwise convolutions).",
    )
    graph: Graph = Field(
        "auto",
        description="on: on a GPU the training step is captured as a CUDA graph after a few steps, and replayed, where "
        "it can be; off: it is not. auto: off, until measured on GPUs.",
    )
    pixels_on_device: OnDevice = Field(
        "auto",
        description="on: on a GPU the decoded images of train and val are copied there once, where they fit beside the "
        "model; off: batch by batch, read ahead. auto: off, until measured on GPUs.",
    )
    features: UseFeatures = Field(
        "auto",
        description="finetune head only. auto: without augmentation, the frozen backbone runs once for all trials of "
        "the node, which train on its pooled features; none: it runs in each epoch.",
    )
    feature_views: int = Field(
        0,
        ge=0,
        le=256,
        description="finetune head only, with augmentation. 0: the backbone runs in each epoch, on new versions; K: "
        "it runs once, on K augmented versions of each training image, which all trials share: epochs "
        "take turns. With mixup, cutmix or drop_path it runs in each epoch.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**32,
        description="Seed of weights, order and augmentation; empty: derived from the sweep's seed.",
    )

    @property
    def fit(self) -> Fit:
        """How a picture becomes the square of `input_resolution`."""
        return Fit(self.resize, self.crop_fraction) if self.resize == "crop" else Fit(self.resize)

    @property
    def num_channels(self) -> int:
        """Channels of the input: 3 or 1."""
        return 3 if self.color == "rgb" else 1

    @property
    def augments(self) -> bool:
        """Whether training images are changed at random, each on its own."""
        drawn = (self.hflip, self.vflip, self.rotation_degrees, self.color_jitter, self.invert, self.random_erasing)
        return self.augment != "none" or self.crop_scale < 1.0 or any(drawn)

    @property
    def weights_path(self) -> str | None:
        """The local weight file as written, None without one (or when training from scratch)."""
        return self.pretrained if isinstance(self.pretrained, str) and self.finetune != "scratch" else None

    @property
    def wants_weights(self) -> bool:
        """Whether training starts from weights (if the model has any)."""
        return bool(self.pretrained) and self.finetune != "scratch"
