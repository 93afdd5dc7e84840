"""The image classifier, as recordings of learning curves want it: it also says what the search may not see.

No example of the val split is trained on. A quarter of them, drawn once per data set, is what a search sees as `val_*`;
the accuracy on the others is reported as `unseen_accuracy`: what a model chosen by the first is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar
from unittest.mock import patch

import torch

from trainables.contract import Mode, TrialHandle
from trainables.image.config import ImageConfig
from trainables.image.measures.metrics import classification_metrics
from trainables.image.trainable import ImageClassifier

SEEN_FRACTION = 0.25


class RecordedClassifier(ImageClassifier):
    """See the module."""

    metrics: ClassVar[Mapping[str, Mode]] = {**ImageClassifier.metrics, "unseen_accuracy": "max"}

    def train(self, config: ImageConfig, handle: TrialHandle) -> None:
        # The loop has one place where a split is judged. Evaluating each epoch's checkpoint on a split of its own would
        # run the whole backbone, which costs a thousand times the training of a head.
        judge = partial(_seen_and_unseen, self.num_seen)
        with patch("trainables.image.training.classifier.classification_metrics", judge):
            super().train(config, handle)

    def num_seen(self, num_examples: int) -> int:
        """How many of val the search sees."""
        return round(SEEN_FRACTION * num_examples)


def _seen_and_unseen(
    num_seen: Callable[[int], int], split: str, logits: torch.Tensor, targets: torch.Tensor, *others: Any, **named: Any
) -> dict[str, float]:
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    seen, unseen = order.tensor_split([num_seen(len(order))])
    metrics = classification_metrics(split, logits[seen], targets[seen], *others, **named)
    of_others = classification_metrics("unseen", logits[unseen], targets[unseen], *others, **named)
    return {**metrics, "unseen_accuracy": of_others["unseen_accuracy"]}
