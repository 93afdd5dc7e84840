"""Every hyperparameter of the image classifier: type, range, default, one line of help."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainables.image.pixels.fit import CROP_FRACTION, Fit, Resize

Pooling = Literal["native", "avg", "max", "avgmax", "catavgmax", "gem", "token", "map"]
Finetune = Literal["head", "last_n", "full", "scratch"]
Color = Literal["rgb", "grayscale"]
Loss = Literal["auto", "cross_entropy", "bce", "multilabel_soft_margin", "mse", "l1", "focal", "asymmetric"]
Schedule = Literal["constant", "step", "cosine", "one_cycle", "plateau"]
Monitor = Literal["val_loss", "val_accuracy", "val_macro_f1", "val_micro_f1", "val_exact_match", "val_map"]
Augment = Literal["none", "light", "randaugment", "trivialaugment"]
UseFeatures = Literal["auto", "none"]
Precision = Literal["no", "bf16", "fp16", "auto"]
Graph = Literal["auto", "on", "off"]

WEIGHT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


class ImageConfig(BaseModel):
    """One configuration of the image classifier.

    Combinations that cannot work are found by `ImageClassifier.check`; here each field stands alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field(
        "mobilenetv3_small_100",
        min_length=1,
        description="A timm model (also by its torchvision name), torchvision's shufflenet_v2_x1_0, squeezenet1_1 or "
        "googlenet, or one of our own: simple_cnn3, cnn4, cnn5_avg, mlp6.",
    )
    pretrained: bool | Annotated[str, Field(min_length=1)] = Field(
        True,
        description="true: published weights, where the model has any; false: none; or a path to a weight file "
        "(.pth, .pt, .bin, .safetensors) with a timm state dict of the model, or to a folder with one file per model "
        "(MODEL.pth).",
    )
    finetune: Finetune = Field(
        "full",
        description="head: train the classifier on frozen features; last_n: train it and the last unfrozen_blocks; "
        "full: train all; scratch: use no weights.",
    )
    unfrozen_blocks: int = Field(
        1, ge=1, le=1000, description="last_n only: how many blocks before the head are trained, counted from the end."
    )
    pooling: Pooling = Field(
        "native",
        description="How the feature map becomes one vector. native: as the model was published (most: avg; vit: "
        "token); gem: generalised mean; token, map: of transformers.",
    )
    input_resolution: int = Field(128, ge=8, le=2048, description="Height and width of the input in pixels.")
    resize: Resize = Field(
        "squash",
        description="How a picture becomes a square. squash: its sides are not kept in proportion; crop: the shorter "
        "side is brought to input_resolution / crop_fraction, and the middle is cut out; pad: the longer side is "
        "brought to input_resolution, and the rest is grey.",
    )
    crop_fraction: float = Field(
        CROP_FRACTION, ge=0.5, le=1.0, description="resize: crop only: the part of the shorter side that stays."
    )
    color: Color = Field("rgb", description="rgb: three channels; grayscale: one.")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout rate before the classifier.")
    drop_path: float = Field(
        0.0, ge=0.0, lt=1.0, description="Rate at which whole residual branches are dropped (stochastic depth)."
    )
    width: int | None = Field(
        None, ge=1, le=4096, description="Own nets only: channels of the first layer; empty: the net's own default."
    )
    batch_norm: bool | None = Field(
        None, description="Own convolutional nets only: normalise after each convolution; empty: only in cnn5_avg."
    )

    loss: Loss = Field(
        "auto",
        description="What is minimised. auto: cross_entropy for one label per example, bce for any number; mse and l1 "
        "are of probabilities. val_loss is that of auto whatever is chosen here, so that trials compare.",
    )
    pos_weight: float = Field(
        1.0, gt=0.0, le=1000.0, description="How much a label that is there counts; cross_entropy does not read it."
    )
    focal_gamma: float = Field(2.0, ge=0.0, le=10.0, description="focal: how little what is right already counts.")
    focal_alpha: float | None = Field(
        0.25, ge=0.0, le=1.0, description="focal: the weight of labels that are there, against 1 - alpha; empty: none."
    )
    asymmetric_gamma_neg: float = Field(4.0, ge=0.0, le=10.0, description="asymmetric: focus of labels not there.")
    asymmetric_gamma_pos: float = Field(1.0, ge=0.0, le=10.0, description="asymmetric: focus of labels that are there.")

    optimizer: str = Field(
        "adamw",
        min_length=1,
        description="adam, adamw, sgd, adamax, adadelta, rmsprop, radam, lion, or any other that timm.optim knows.",
        examples=["adam", "adamw", "sgd", "adamax", "adadelta", "rmsprop", "radam", "lion", "lamb", "muon", "nadamw"],
    )
    lr: float = Field(1e-3, gt=0.0, le=100.0, description="Peak learning rate.")
    head_lr_multiplier: float = Field(
        1.0, gt=0.0, le=1000.0, description="The classifier (and other layers without weights) learn at lr times this."
    )
    layer_lr_decay: float = Field(
        1.0, gt=0.0, le=1.0, description="Each block learns at this fraction of the rate of the block after it."
    )
    momentum: float = Field(
        0.9, ge=0.0, lt=1.0, description="Momentum of sgd, rmsprop and their kin; adam and others do not read it."
    )
    nesterov: bool = Field(False, description="sgd only: Nesterov's momentum.")
    weight_decay: float = Field(
        1e-4, ge=0.0, le=10.0, description="Weight decay; biases and normalisation layers are left out."
    )
    schedule: Schedule = Field(
        "cosine",
        description="constant: lr stays; step: lr times lr_gamma every step_epochs; cosine: lr falls towards 0 along "
        "half a cosine; one_cycle: lr rises for 0.3 of the steps, then falls; plateau: lr times lr_gamma when monitor "
        "is no better for plateau_patience epochs.",
    )
    lr_gamma: float = Field(0.1, gt=0.0, lt=1.0, description="step and plateau: what lr is multiplied by.")
    step_epochs: int | None = Field(
        None, ge=1, description="step: epochs from one fall of lr to the next; empty: a third of epochs."
    )
    plateau_patience: int = Field(2, ge=0, description="plateau: epochs without a gain that are put up with.")
    warmup_epochs: float = Field(0.0, ge=0.0, description="lr rises linearly during these epochs.")
    epochs: int = Field(10, ge=1, le=100_000, description="How often every training example is seen: the fidelity.")
    monitor: Monitor = Field("val_loss", description="What plateau and early stopping look at.")
    early_stopping_patience: int | None = Field(
        None,
        ge=1,
        description="The trial ends when monitor has not gained for so many epochs; empty: it runs to the end.",
    )
    ema_decay: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Evaluate and keep a moving average of the weights with this decay, such as 0.999; 0: the weights.",
    )
    average_weights: int = Field(
        1,
        ge=1,
        le=1000,
        description="Evaluate and keep the mean of the weights of this many last epochs, with the statistics of batch "
        "normalisation measured anew on train; 1: the weights. Suits schedule: constant. Not with ema_decay.",
    )
    batch_size: int = Field(32, ge=1, le=65_536, description="Examples in one optimizer step.")
    label_smoothing: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of the target spread evenly over the classes."
    )
    threshold: Literal["tuned"] | Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.5,
        description="Multi-label data: a label counts from this probability; tuned: for each label the one with the "
        "best F1 on val. The model package carries it.",
    )
    augment: Augment = Field(
        "none",
        description="none; light: mirror, small shifts, colour jitter; randaugment: mirror, some random operations; "
        "trivialaugment: mirror, one operation of random strength. The switches below come on top of it.",
    )
    randaugment_operations: int = Field(2, ge=1, le=10, description="randaugment: how many operations per image.")
    randaugment_magnitude: float = Field(9.0, ge=0.0, le=30.0, description="randaugment: their strength, of 30.")
    hflip: float = Field(0.0, ge=0.0, le=1.0, description="Probability of mirroring an image left to right.")
    vflip: float = Field(0.0, ge=0.0, le=1.0, description="Probability of mirroring an image top to bottom.")
    crop_scale: float = Field(
        1.0, gt=0.0, le=1.0, description="Smallest share of an image's area that a random crop keeps; 1: no crops."
    )
    rotation_degrees: float = Field(0.0, ge=0.0, le=180.0, description="Images are turned by up to this, either way.")
    color_jitter: float = Field(
        0.0, ge=0.0, le=1.0, description="Brightness, contrast and saturation vary by up to this fraction."
    )
    invert: float = Field(0.0, ge=0.0, le=1.0, description="Probability of inverting an image's colours.")
    random_erasing: float = Field(
        0.0, ge=0.0, le=1.0, description="Probability of blanking a random rectangle of an image."
    )
    mixup: float = Field(0.0, ge=0.0, le=10.0, description="alpha of mixup: images blended in pairs; 0: none.")
    cutmix: float = Field(
        0.0,
        ge=0.0,
        le=10.0,
        description="alpha of cutmix: a part of another image pasted in; 0: none. With mixup, each image has one of "
        "the two.",
    )
    mixed_precision: Precision = Field(
        "auto",
        description="no, bf16, fp16 (GPU only); auto: bf16 on GPUs that can, and from 64 px on CPUs that can, for "
        "model families that it makes faster (not those of depthwise convolutions).",
    )
    graph: Graph = Field(
        "auto",
        description="on: on a GPU the training step is captured as a CUDA graph after a few steps, and replayed, where "
        "it can be; off: it is not. auto: off, until measured on GPUs.",
    )
    features: UseFeatures = Field(
        "auto",
        description="finetune head only. auto: where no image is changed at random, the frozen backbone runs once for "
        "all trials of the node, which train on its pooled features; none: it runs each epoch.",
    )
    feature_views: int = Field(
        0,
        ge=0,
        le=256,
        description="finetune head only, for images that are changed at random. 0: the backbone runs each epoch, on "
        "new changes; K: it runs once, on K changed versions of each training image, which all trials share: epochs "
        "take them in turn. With mixup, cutmix or drop_path it runs each epoch.",
    )
    seed: int | None = Field(
        None, ge=0, lt=2**32, description="Of weights, order and augmentation; empty: derived from the sweep's seed."
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
    def weights_path(self) -> str | None:
        """The local weight file as written, None without one (or when training from scratch)."""
        return self.pretrained if isinstance(self.pretrained, str) and self.finetune != "scratch" else None

    @property
    def wants_weights(self) -> bool:
        """Whether training starts from weights (if the model has any)."""
        return bool(self.pretrained) and self.finetune != "scratch"
