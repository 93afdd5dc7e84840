"""The trained model in double precision: what both it and its export would give without rounding."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch

from trainables.image.deployment.onnx_graph import DeployedClassifier


def exact_probabilities(
    classifier: DeployedClassifier, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float64] | None:
    """(N, H, W, C) → (N, classes), on the CPU.

    Args:
        classifier: of float32; it is left as it is.
        images: as the model's resolution has them.

    Returns:
        None for a model that computes a part in float32 whatever its weights are.
    """
    exact = copy.deepcopy(classifier).cpu().double().eval()
    try:
        with torch.inference_mode():
            probabilities = [exact(torch.from_numpy(image[np.newaxis])) for image in images]
    except RuntimeError:  # of two kinds of numbers that do not go together
        return None
    return torch.cat(probabilities).double().numpy()
