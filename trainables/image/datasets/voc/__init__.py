"""PASCAL VOC, and anything else with its XML."""

from trainables.image.datasets.voc.dataset import Voc

__all__ = ["Voc"]
