"""What a trainable can do with several of its checkpoints: average their weights, or let them answer together.

Of a trainable that has these methods a sweep makes further candidates for the model to publish: a soup, an ensemble.
Either is a checkpoint folder like a trial's, so that `evaluate` and `export` take it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

ConfigT = TypeVar("ConfigT", bound=BaseModel)


@dataclass(frozen=True)
class Member(Generic[ConfigT]):
    """A checkpoint that takes part.

    Attributes:
        trial: whose it is.
        seed: that its trial was trained with, where the config names none.
        config: of the trial.
        checkpoint: its folder.
    """

    trial: int
    seed: int
    config: ConfigT
    checkpoint: Path


class Combines(ABC, Generic[ConfigT]):
    """To be inherited beside `Trainable`."""

    @classmethod
    @abstractmethod
    def why_no_soup(cls, candidates: Mapping[str, Sequence[Any]]) -> str:
        """Why no two trials of a sweep over these candidates (as for `prepare`) can be averaged; empty: some may."""

    @abstractmethod
    def layers(self, config: ConfigT) -> str:
        """Names the network and what it is given, in words: only weights of the same one can be averaged."""

    @abstractmethod
    def start(self, config: ConfigT, seed: int) -> str:
        """Names the weights that a trial's training began from, in words: only of the same start can be averaged."""

    @abstractmethod
    def resolution(self, config: ConfigT) -> int:
        """Of the pictures that a network is given, in pixels."""

    @abstractmethod
    def at_resolution(self, config: ConfigT, resolution: int) -> ConfigT:
        """The config with which `evaluate` and `export` take the same checkpoint at another resolution.

        Raises:
            TrainableError: its network takes no such pictures.
        """

    @abstractmethod
    def sees(self, config: ConfigT) -> str:
        """Names what a network is given, but for its resolution: where it is the same, models can answer together."""

    @abstractmethod
    def joined_config(self, members: Sequence[Member[ConfigT]]) -> ConfigT:
        """With which config `evaluate` and `export` take what `join` writes."""

    @abstractmethod
    def join(self, members: Sequence[Member[ConfigT]], folder: Path) -> None:
        """Writes a checkpoint of a model that answers with the mean of the members' probabilities.

        Args:
            members: two or more, that `sees` says the same of.
            folder: an existing, empty one.
        """

    @abstractmethod
    def average(self, members: Sequence[Member[ConfigT]], folder: Path, num_threads: int = 1) -> None:
        """Writes a checkpoint of the mean of the members' weights, as `evaluate` and `export` take it with the first
        member's config. What depends on the weights (statistics of batch normalisation) is estimated anew on train.

        Args:
            members: two or more, with the same `layers` and `start`.
            folder: an existing, empty one.
            num_threads: CPU threads to use.

        Raises:
            TrainableError: their layers or classes differ after all; says which.
        """
