"""What tests of the command line share: the types of their fixtures, and a sweep file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MakePictures = Callable[..., Path]
Refused = Callable[..., str]

IMAGES = """\
name: tried
data: {dataset: image_folder, root: pictures}
trainable: image_classifier
fixed: {epochs: 1, pretrained: false, finetune: scratch, input_resolution: 16}
space:
  model: [simple_cnn3, mlp6]
  optimizer: [adam, sgd]
  momentum: {values: [0.8, 0.9], when: {optimizer: sgd}}
  lr: {low: 1e-4, high: 1e-1, log: true}
search: {sampler: random, trials: 2}
"""
"""A sweep file over an image folder; line 5 is `space:`."""
