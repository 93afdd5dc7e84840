"""The last layer of a model: found in a whole one, or on its own, trained on features that were stored."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from timm.layers import ClassifierHead
from torch import nn

from trainables.image.models.classifiers import classifier_parts
from trainables.image.models.own_head import load_own_head


class Head(nn.Module):
    """Dropout, then the classifier: pooled features `(N, D)` → logits `(N, classes)`."""

    def __init__(self, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)
        self.num_classes = num_classes
        # What `parameter_groups` reads of a whole model, too.
        self.head_names = frozenset({"fc.weight", "fc.bias"})

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.drop(features))
        return logits

    def get_classifier(self) -> nn.Linear:
        """As timm's models have it."""
        return self.fc


def linear_of(classifier: nn.Module) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Weight (classes, D) and bias (classes,) of a classifier that is one linear layer; None of any other.

    A convolution of 1×1 on a map of one pixel is one, too.
    """
    if isinstance(classifier, ClassifierHead):  # of Sequencer and SAM timm gives the pooling and the dropout as well
        classifier = classifier.fc
    if isinstance(classifier, nn.Conv2d):
        if classifier.kernel_size != (1, 1) or classifier.groups != 1:
            return None
    elif not isinstance(classifier, nn.Linear):
        return None
    return None if classifier.bias is None else (classifier.weight.flatten(1), classifier.bias)


def load_head(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Puts a trained head's weights (`fc.weight` and `fc.bias`, or those of an own head) into a whole model."""
    if "fc.weight" not in weights:
        load_own_head(model, weights)
        return
    (classifier,) = classifier_parts(model)
    own = classifier.state_dict()
    named = {name.removeprefix("fc."): value for name, value in weights.items()}
    classifier.load_state_dict({name: value.view(own[name].shape) for name, value in named.items()})
