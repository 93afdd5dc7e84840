"""timm's protocol for nets that are not timm's: then one `timm.create_model` makes every model."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import ClassifierHead
from torch import nn


class TimmProtocol(nn.Module):
    """A feature map `(N, C, H, W)`, then a head: pool, dropout, linear.

    Subclasses set `head`, `num_features` and `_blocks`, and write `forward_features`.
    """

    head: ClassifierHead
    _blocks: Any
    """timm's way to group parameters into blocks, by patterns of their names, the first layers first."""

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """`(N, C, H, W)` → logits `(N, num_classes)`, or the pooled features with `pre_logits`."""
        result: torch.Tensor = self.head(x, pre_logits=pre_logits)
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        classifier: nn.Module = self.head.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Which parameters belong to which block; what no pattern matches is the head."""
        return {"blocks": self._blocks}


class HiddenHead(ClassifierHead):  # type: ignore[misc]
    """timm's head with one hidden layer (linear, ReLU) between pooling and dropout."""

    def __init__(self, in_features: int, num_classes: int, hidden: int, **options: Any) -> None:
        super().__init__(in_features, num_classes, **options)
        self._hidden = hidden
        self.hidden: nn.Module = nn.Identity()
        self._rebuild(num_classes)

    def reset(self, num_classes: int, pool_type: str | None = None, **options: Any) -> None:
        super().reset(num_classes, pool_type, **options)
        self._rebuild(num_classes)

    def _rebuild(self, num_classes: int) -> None:
        pooled: int = self.in_features * self.global_pool.feat_mult()
        if getattr(self.hidden, "in_features", None) != pooled:
            self.hidden = nn.Linear(pooled, self._hidden)
        self.fc = nn.Linear(self._hidden, num_classes) if num_classes > 0 else nn.Identity()
        self.num_features = self._hidden

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = self.drop(self.hidden(self.global_pool(x)).relu())
        result: torch.Tensor = x if pre_logits else self.fc(x)
        return result
