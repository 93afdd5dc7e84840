"""One trial of the image classifier: the Accelerate loop, to be read from top to bottom."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from trainables.contract import EpochReport, Save, TrialHandle
from trainables.errors import Diverged
from trainables.image.batches.augment import make_augmentation, with_generator
from trainables.image.batches.feed import Feed, Source, to_device
from trainables.image.batches.kept_pixels import keep
from trainables.image.batches.mixing import make_mixing
from trainables.image.compute.memory import peak_memory_bytes, reset_peak_memory
from trainables.image.compute.precision import chosen_precision
from trainables.image.config import ImageConfig, Precision
from trainables.image.data.balancing import class_weights, sampled_rows
from trainables.image.features.stored import FeatureFeed, Features
from trainables.image.index import ImageIndex
from trainables.image.measures.losses import make_loss, training_loss
from trainables.image.measures.metrics import classification_metrics, decide, outcomes
from trainables.image.models.classifiers import classifier_layers
from trainables.image.models.factory import normalization, starting_model
from trainables.image.models.freezing import frozen_norms
from trainables.image.models.head import Head
from trainables.image.models.layout import channels_last
from trainables.image.models.own_head import OwnHead
from trainables.image.package import THRESHOLD
from trainables.image.parallel.workers import Workers, accelerator_of
from trainables.image.settings.balance import Balance
from trainables.image.training.averaging import MOST_EXAMPLES, LastEpochs
from trainables.image.training.checkpoint import load_state, save_state
from trainables.image.training.divergence import LossWatch
from trainables.image.training.graph import GraphRun, keep_on_device, left_out, why_not
from trainables.image.training.microbatch import MicroBatches, infeasible_when_out_of_memory
from trainables.image.training.moving_average import MovingAverage
from trainables.image.training.optim import make_optimizer, set_learning_rate
from trainables.image.training.order import epoch_generator, epoch_order, epoch_size, seed_everything
from trainables.image.training.predicting import predict_together
from trainables.image.training.schedule import epoch_schedule
from trainables.image.training.step import TrainingStep, drawing, judged_raw, preparing, scaled_backward
from trainables.image.training.turns import off_the_gpu
from trainables.image.training.watching import ends_early, seen_so_far, watch
from trainables.records import Warn

_FEATURES_AT_ONCE = 1024
"""That a head judges: more at a time gain nothing."""


@dataclass(frozen=True)
class Epoch:
    """An epoch that has been trained.

    Attributes:
        report: what it brought.
        save: writes the state after it.
    """

    report: EpochReport
    save: Save


def train_classifier(
    config: ImageConfig,
    index: ImageIndex,
    pixels: Source | Features,
    weights: Path | None,
    handle: TrialHandle,
    balance: Balance | None = None,
) -> None:
    """Trains one configuration, from `handle.resumed` when that is set, reporting after each epoch.

    Of the figures reported: `train_loss` and `train_accuracy` are those seen while training (augmented, with
    dropout, smoothed labels, and of mixed images counting the label that they had before); `val_loss` is the log loss,
    whatever is minimised, so that trials compare; `lr` is that of the epoch's last step; `images_per_s` is of training
    alone; `num_parameters` counts frozen ones, too. With `ema_decay` or `average_weights` it is the averaged weights
    that are judged, kept and exported.

    Of several workers each goes through the same batches and takes its part of them: see `parallel.workers`. Figures
    are of all of them together, `peak_memory_bytes` is of the one that took most.

    Args:
        config: the hyperparameters.
        index: the examples; training reads its train split, and the reports are on its val split.
        pixels: of the index, at the config's resolution and channels; or features, and then only the head is trained.
        weights: the file to start from, None for random weights.
        handle: where to report.
        balance: what is done against unequal classes: weights in the loss, or rare ones drawn more often. (Caps are
            in the index already.)

    Raises:
        Diverged: the loss is not a finite number.
        Infeasible: one example at a time does not fit in memory.
        TrainableError: the precision or the optimizer is not to be had on this device, or the loss or the metric to
            monitor is not for this kind of data.
        WeightsError: the weights are not the model's.
    """
    seed = handle.seed if config.seed is None else config.seed
    torch.set_num_threads(handle.num_threads)
    net, precision = starting_net(config, len(index.classes), pixels, weights, seed)
    watched = seen_so_far(config, index, handle.resumed)
    workers = Workers(handle.rank, handle.num_workers)
    resumed = None if handle.resumed is None else handle.resumed.folder
    last_epoch = handle.resumed.epoch if handle.resumed else 0
    with accelerator_of(handle, precision) as accelerator:
        run = epochs(
            config, index, pixels, net, accelerator, workers, seed, watched, balance, last_epoch, resumed,
            warn=handle.warn,
        )  # fmt: skip
        while not ends_early(config, watched) and (epoch := next(run, None)) is not None:
            watch(config, watched, epoch.report.metrics)
            handle.report(epoch.report, save=epoch.save)


def starting_net(
    config: ImageConfig, num_classes: int, pixels: Source | Features, weights: Path | None, seed: int
) -> tuple[nn.Module, Precision]:
    """What is trained, before its first step, and the precision that it trains in; seeds everything."""
    seed_everything(seed)
    if isinstance(pixels, Features):
        net: nn.Module
        layout = pixels.backbone.layout
        if layout is None:
            net = Head(pixels.width, num_classes, config.dropout)
        else:
            net = OwnHead(starting_model(config, num_classes, weights), layout, config.dropout)
        precision = pixels.backbone.precision
    else:
        net = starting_model(config, num_classes, weights)
        precision = chosen_precision(config.mixed_precision, net, config.input_resolution)
    if config.finetune == "head":
        start_head(net, seed)
    return net, precision


def epochs(
    config: ImageConfig,
    index: ImageIndex,
    pixels: Source | Features,
    net: nn.Module,
    accelerator: Accelerator,
    workers: Workers,
    seed: int,
    watched: Sequence[float],
    balance: Balance | None = None,
    last_epoch: int = 0,
    resumed: Path | None = None,
    takes_turns: bool = False,
    warn: Warn = print,
) -> Iterator[Epoch]:
    """Trains a net, an epoch each time that the next one is asked for.

    Args:
        config, index, pixels, balance: as for `train_classifier`. Without a val split nothing is judged.
        net: from `starting_net`.
        accelerator: in whose precision and on whose device.
        workers: that train together.
        seed: of the order of the examples and of what is random in them.
        watched: the metric to monitor of each epoch before the one that is asked for, where it decides on the learning
            rate; whoever asks adds to it.
        last_epoch: that was trained before.
        resumed: the folder that was saved after it.
        takes_turns: other nets are trained in between: this one leaves the GPU to them.
        warn: is told what the user should know of how it runs.
    """
    device = accelerator.device
    reset_peak_memory(device)

    channels_last(net)
    norms_to_hold = frozen_norms(net)
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    shared_s = 0.0
    if isinstance(pixels, Features):
        num_parameters += pixels.backbone.num_parameters
        shared_s = pixels.shared_s
    # Before Accelerate wraps `forward`: a copy of the wrapped one would compute with the original's weights.
    ema = MovingAverage(net, config.ema_decay) if config.ema_decay else None
    last = LastEpochs(net, config.average_weights) if config.average_weights > 1 else None
    average = ema.module if ema is not None else last.module if last is not None else None
    with infeasible_when_out_of_memory(f"{config.model} itself"):
        # On the device; its forward runs in mixed precision, its outputs are float32. Gradients are added up
        # in `MicroBatches`: `evaluation_mode` says that Accelerate need not.
        model = accelerator.prepare_model(net, evaluation_mode=True)
        judged = model if average is None else accelerator.prepare_model(average, evaluation_mode=True)
    optimizer = make_optimizer(config, net)
    # Not wrapped by Accelerate, which looks for a package on disk twice a step: a tenth of a small net's step.
    backward = torch.Tensor.backward if accelerator.scaler is None else partial(scaled_backward, accelerator.scaler)
    strategy, power = (balance.strategy, balance.power) if balance else ("cap", 1.0)
    weights_of_classes = None
    if strategy == "class_weights":
        weights_of_classes = torch.from_numpy(class_weights(index, power)).to(device)
    train_loss = training_loss(config, index.multilabel, weights_of_classes)
    val_loss = make_loss(index.multilabel)
    train_threshold = THRESHOLD if isinstance(config.threshold, str) else config.threshold  # tuned is of val
    # Stored features are of images that were changed already.
    augmentation = None if isinstance(pixels, Features) else make_augmentation(config)
    feed: Feed | FeatureFeed
    feed = FeatureFeed(pixels, device) if isinstance(pixels, Features) else Feed(pixels, device, *normalization(net))

    train_rows, val_rows = index.rows("train"), index.rows("val")
    targets = torch.from_numpy(index.targets)
    val_targets = targets[val_rows]
    targets = targets.to(device)
    image_size = (config.input_resolution, config.input_resolution)
    steps_per_epoch = math.ceil(epoch_size(len(train_rows), config.batch_size) / config.batch_size)
    if resumed is not None:
        load_state(resumed, net, optimizer, accelerator.scaler, average, last)
    eager = why_not(config, device, workers, scales_losses=accelerator.scaler is not None, takes_turns=takes_turns)
    if config.graph == "on" and eager:
        warn(f"graph: steps run one kernel at a time: {eager}")
    wants_graph = config.graph == "on" and not eager
    whole_step = wants_graph and not (augmentation is not None and augmentation.by_value)
    if wants_graph and not whole_step:
        warn(f"graph: {left_out(config)}")
    keep_on_device(optimizer, device if wants_graph else None)
    if ema is not None and wants_graph:
        ema.keep_on_device(device)
    workers.start_alike(net)

    def train_mode() -> None:
        model.train()
        for norm in norms_to_hold:
            norm.eval()

    add_gradients = MicroBatches(model, train_loss, backward, config.batch_size, workers)
    if device.type == "cuda" and not isinstance(pixels, Features):
        train_mode()
        some = torch.from_numpy(train_rows[: add_gradients.batch_size]).to(device)
        add_gradients.probe((config.num_channels, config.input_resolution, config.input_resolution), targets[some])
    if config.pixels_on_device == "on" and isinstance(feed, Feed) and not isinstance(pixels, Features):
        rows = np.concatenate([train_rows, val_rows])
        in_parts = add_gradients.size < add_gradients.batch_size
        feed.kept = keep(
            config, pixels, rows, feed.bytes_of(rows), device, in_parts=in_parts, takes_turns=takes_turns, warn=warn
        )
    if device.type == "cuda":
        reset_peak_memory(device)

    step = TrainingStep(
        net,
        add_gradients,
        optimizer,
        partial(decide, multilabel=index.multilabel, thresholds=train_threshold),
        preparing(feed, augmentation) if whole_step else None,
        accelerator.scaler,
        ema,
        workers.share,
    )
    graph = GraphRun(step, step.whole, undo=step.forget, warn=warn) if wants_graph else None
    judge = GraphRun(partial(judged_raw, judged, feed), what="validation batches", warn=warn) if wants_graph else None

    for epoch in range(last_epoch + 1, config.epochs + 1):
        started = perf_counter()
        feed.wait_s = 0.0
        order = epoch_order(train_rows, config.batch_size, seed, epoch)
        if strategy == "sampler":
            order = sampled_rows(index, power, seed, epoch)[: len(order)]
        generator = epoch_generator(seed, epoch)
        mix = step.mixing = make_mixing(config, len(index.classes), seed, epoch)
        lr_at = epoch_schedule(config, steps_per_epoch, watched)

        train_mode()
        workers.draw_apart(seed, epoch)
        watch_loss = LossWatch(epoch, steps_per_epoch, lr_at)
        decisions: list[torch.Tensor] = []
        wanted_here: list[torch.Tensor] = []
        epoch_targets = torch.split(targets[torch.from_numpy(order).to(device)], config.batch_size)
        # To mix images one needs all of a batch.
        share = None if workers.number == 1 or mix else workers.share
        stored = pixels.rows_of_epoch(order, epoch) if isinstance(pixels, Features) else order
        batches: Iterator[tuple[torch.Tensor, ...]]
        if whole_step:
            batches = feed.raw(stored, config.batch_size, drawing(augmentation, generator))
        else:
            change = with_generator(augmentation, generator)
            batches = ((images,) for images in feed.batches(stored, config.batch_size, change, share))
        for number, (given, wanted) in enumerate(zip(batches, epoch_targets, strict=True)):
            lr = lr_at((epoch - 1) * steps_per_epoch + number)
            set_learning_rate(optimizer, lr)
            if ema is not None:
                ema.at((epoch - 1) * steps_per_epoch + number + 1)
            mixed = () if mix is None else (to_device(mix.draw(len(wanted), image_size), device),)
            fits = add_gradients.size == add_gradients.batch_size
            loss, decided = (graph if graph is not None and fits else step)(*given, wanted, *mixed)
            # Kept where they are until the epoch ends: asking for a number would wait for the device.
            watch_loss.add(loss)
            decisions.append(decided)
            wanted_here.append(wanted[workers.share(len(wanted))])
        watch_loss.end()
        train_s = perf_counter() - started
        train_wait_s = feed.wait_s

        if last is not None:
            last.add(net)
            together = min(config.batch_size, add_gradients.size * workers.number)
            last.measure(judged, feed, order[: epoch_size(min(len(order), MOST_EXAMPLES), together)], together, workers)
        at_once = add_gradients.size if isinstance(feed, Feed) else max(_FEATURES_AT_ONCE, add_gradients.size)
        on_val: dict[str, float] = {}
        right = ""
        if len(val_rows):
            logits = predict_together(workers, judged, feed, val_rows, at_once, judge)
            on_val["val_loss"] = val_loss(logits, val_targets).item()
            if not math.isfinite(on_val["val_loss"]):
                raise Diverged(f"the validation loss is {on_val['val_loss']} after epoch {epoch} (lr {lr:g})")
            on_val |= classification_metrics("val", logits, val_targets, index.multilabel, config.threshold)
            right = outcomes(logits, val_targets, index.multilabel, config.threshold)
        metrics = {
            "train_loss": mean_loss(watch_loss.losses, epoch_targets),
            "train_accuracy": workers.accuracy(torch.cat(decisions), torch.cat(wanted_here)),
            **on_val,
            "lr": lr,
            "epoch_s": perf_counter() - started,
            "images_per_s": len(order) / train_s,
            "data_wait_fraction": train_wait_s / train_s,
            "peak_memory_bytes": int(workers.largest(peak_memory_bytes(device), device)),
            "num_parameters": num_parameters,
            **({"shared_s": shared_s} if shared_s and epoch == last_epoch + 1 else {}),
            **add_gradients.metrics,
            **({"graph_fraction": graph.fraction} if graph is not None else {}),
            **({"eval_graph_fraction": judge.fraction} if judge is not None and len(val_rows) else {}),
            **(feed.metrics if isinstance(feed, Feed) and config.pixels_on_device == "on" else {}),
        }
        metrics = workers.agreed(metrics, device)
        save = partial(
            save_state,
            model=net,
            optimizer=optimizer,
            scaler=accelerator.scaler,
            average=average,
            last=last,
            backbone=pixels.backbone if isinstance(pixels, Features) else None,
        )
        with off_the_gpu(net, average, optimizer) if takes_turns else contextlib.nullcontext():
            yield Epoch(EpochReport(epoch, metrics, right), save)


def start_head(net: nn.Module, seed: int) -> None:
    """Draws the classifier from the seed alone, so that it does not depend on what the backbone drew before it.

    What follows (dropout) goes on from there: with and without a backbone in memory a trial is the same.
    """
    seed_everything(seed)
    if not getattr(net, "classifier_is_loaded", False):
        for layer in classifier_layers(net):
            layer.reset_parameters()


def mean_loss(losses: list[torch.Tensor], batches: tuple[torch.Tensor, ...]) -> float:
    """The mean over the examples of the batches' mean losses."""
    sizes = torch.tensor([len(batch) for batch in batches], dtype=torch.float64)
    return float((torch.stack(losses).double().cpu() * sizes).sum() / sizes.sum())
