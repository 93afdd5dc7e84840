"""Pretrained weights: finds them, reads them safely, and checks that they are the model's.

Nothing here unpickles: PyTorch files are read with `weights_only=True`, others are safetensors.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import getproxies

from trainables.errors import WeightsError
from trainables.image.config import WEIGHT_SUFFIXES
from trainables.image.models.table import nearest
from trainables.image.models.weight_files import expanded, weight_files

if TYPE_CHECKING:
    import torch

StateDict = dict[str, "torch.Tensor"]
_YES_OR_NO = {"yes": "true", "on": "true", "no": "false", "off": "false", "none": "false"}
"""What a sweep file reads as text, as YAML 1.2 does, and what people mean by it."""
_WITHOUT = "or train without weights (finetune: scratch, or pretrained: false)"


def local_weights(written: str, model: str) -> Path:
    """The weight file that `pretrained: <path>` means for a model.

    Args:
        written: a file, or a folder with a file of the model's name: see `weight_files`.
        model: timm's name of the model.

    Raises:
        WeightsError: there is no such file, several could be meant, or it is of no known kind.
    """
    path = expanded(written)
    if path.is_dir():
        return _in_folder(path, model)
    if not path.exists():
        if (meant := text_for_yes_or_no(written)) is not None:
            raise WeightsError(f"pretrained: {meant}")
        there = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        meant = "".join(f". Did you mean {path.parent / near}?" for near in nearest(path.name, there)[:1])
        raise WeightsError(
            f"pretrained: {path} does not exist{meant or '.'} Give a weight file ({', '.join(WEIGHT_SUFFIXES)}), a "
            "folder of them, true for the published weights, or false"
        )
    if path.suffix not in WEIGHT_SUFFIXES:
        raise WeightsError(
            f"pretrained: {path} is not a weight file: its suffix is none of {', '.join(WEIGHT_SUFFIXES)}"
        )
    return path


def text_for_yes_or_no(pretrained: bool | str) -> str | None:
    """What to write instead of `yes` or `no`, which are text in a sweep file; None where there is a file so called."""
    plain = _YES_OR_NO.get(pretrained.lower()) if isinstance(pretrained, str) else None
    if plain is None or expanded(str(pretrained)).exists():
        return None
    return (
        f"{pretrained!r} is text, the name of a weight file. Did you mean {plain}? true: the published weights; "
        "false: none"
    )


def _in_folder(folder: Path, model: str) -> Path:
    """The one file of a folder that is a model's."""
    exact = [folder / f"{model}{suffix}" for suffix in WEIGHT_SUFFIXES if (folder / f"{model}{suffix}").is_file()]
    if exact:
        return exact[0]
    base, _, tag = model.partition(".")
    found = [path for path in weight_files(folder).files.get(base, ()) if not tag or path.stem == base]
    if not found:
        kinds = ", ".join(WEIGHT_SUFFIXES)
        raise WeightsError(
            f"pretrained: {folder} has no weights of {model}: name the file {model} or {model}_ANYTHING, with one of "
            f"the endings {kinds}"
        )
    if len(found) > 1 and found[0].stem != base:
        names = ", ".join(path.name for path in found)
        raise WeightsError(
            f"pretrained: {folder} has {len(found)} weight files of {model} ({names}): give the path of one of them, "
            f"or name one {base}{found[0].suffix}"
        )
    return found[0]


def digest_of(path: Path) -> str:
    """Of a file's content."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, functools.partial(hashlib.blake2b, digest_size=16)).hexdigest()


def at_hand(pretrained: bool | str, model: str) -> Path | None:
    """The weight file that `pretrained` means, if it is on this machine; nothing is fetched.

    Args:
        pretrained: as in a config.
        model: timm's name.
    """
    import timm

    if isinstance(pretrained, str):
        try:
            return local_weights(pretrained, model)
        except WeightsError:
            return None
    source = timm.models.get_pretrained_cfg(model) if pretrained else None
    if source is None or not source.has_weights:
        return None
    if source.hf_hub_id:
        return _in_hub_cache(source.hf_hub_id, source.hf_hub_filename)
    cached = _url_cache(source.url)
    return cached if cached.is_file() else None


def published_weights(model: str) -> Path | None:
    """The file with a model's published weights: from the cache, else fetched into it.

    timm's are on the Hugging Face hub, torchvision's behind an address of their own; each has its usual cache.

    Args:
        model: timm's name, with or without a tag (`resnet50.a1_in1k`).

    Returns:
        None when nobody has published weights for the model.

    Raises:
        WeightsError: not in the cache, and cannot be fetched.
    """
    import timm

    source = timm.models.get_pretrained_cfg(model)
    if source is None or not source.has_weights:
        return None
    if source.hf_hub_id:
        return _from_hub(model, source.hf_hub_id, source.hf_hub_filename)
    return _from_url(model, source.url)


def hub_answers(timeout_s: float = 3.0) -> bool:
    """Whether weights can be fetched from the Hugging Face hub now."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True  # a proxy would have to be asked; the fetch itself says what is wrong with it
    try:
        with socket.create_connection((urlparse(constants.ENDPOINT).hostname or "", 443), timeout=timeout_s):
            return True
    except OSError:
        return False


def read_weights(path: Path) -> StateDict:
    """Reads a state dict; of a training checkpoint, the model's part.

    Raises:
        WeightsError: cut short, not a state dict, or one that would have to run code to be read.
    """
    import torch
    from safetensors import SafetensorError
    from timm.models import load_state_dict

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            state = load_state_dict(str(path), weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        if "non-allowlisted" in str(error):
            raise WeightsError(
                f"{path}: refused, because more than tensors is pickled in it and reading that could run any code. "
                f"Save the model's state_dict() alone, preferably as .safetensors"
            ) from error
        said = "" if isinstance(error, KeyError) else str(error)  # a KeyError's text is the key alone
        reason = said.partition(". ")[0].splitlines()[0] if said else "it is no PyTorch file, or an empty one"
        raise WeightsError(
            f"{path}: cannot be read as weights ({reason}). It may be cut short: copy or fetch it again"
        ) from error
    except AttributeError:  # timm looks for keys in whatever the file holds
        state = None
    tensors = isinstance(state, Mapping) and state and all(isinstance(value, torch.Tensor) for value in state.values())
    if not tensors:
        raise WeightsError(f"{path}: holds no state dict (names and tensors). Save the model's state_dict()")
    return dict(state)


def differences(weights: StateDict, expected: Mapping[str, torch.Tensor], ignore: frozenset[str]) -> list[str]:
    """What keeps weights from being a model's: names on one side only, other shapes; empty when they fit.

    Args:
        weights: from a file.
        expected: the model's state dict (its values may be on the meta device).
        ignore: names that need not fit (the classifier's).
    """
    # Files older than the counter of batch normalisation lack it; it plays no part in what a model computes.
    lacking = [name for name in expected if name not in weights and not name.endswith("num_batches_tracked")]
    missing = [name for name in lacking if name not in ignore]
    unexpected = [name for name in weights if name not in expected and name not in ignore]
    shapes = [
        f"{name} is {tuple(weights[name].shape)} where {tuple(value.shape)} is wanted"
        for name, value in expected.items()
        if name in weights and name not in ignore and weights[name].shape != value.shape
    ]
    found = []
    if missing:
        found.append(f"{len(missing)} of {len(expected)} names are missing, the first is {missing[0]}")
    if unexpected:
        found.append(f"{len(unexpected)} names are not the model's, the first is {unexpected[0]}")
    if shapes:
        found.append(f"{len(shapes)} shapes differ, the first: {shapes[0]}")
    return found


def _from_hub(model: str, repository: str, filename: str | None) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    # The cache first: a sweep asks once a trial, and must not need the network for it.
    if (cached := _in_hub_cache(repository, filename)) is not None:
        return cached
    names = _hub_names(filename)
    address = f"{constants.ENDPOINT}/{repository}/resolve/main/{names[0]}"
    if constants.HF_HUB_OFFLINE or not _reachable(constants.ENDPOINT):
        raise _unreachable(model, address, f"{urlparse(constants.ENDPOINT).hostname} cannot be reached")
    disable_progress_bars()
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except RemoteEntryNotFoundError:
            continue  # the repository has no file of this name: try the next
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            raise _unreachable(model, address, str(error).splitlines()[0]) from error
    raise _unreachable(model, address, "the repository has no such file")


def _hub_names(filename: str | None) -> tuple[str, ...]:
    return (filename,) if filename else ("model.safetensors", "pytorch_model.bin")


def _in_hub_cache(repository: str, filename: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in _hub_names(filename):
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    return None


def _url_cache(url: str) -> Path:
    """Where torch.hub, and so torchvision, looks as well."""
    import torch.hub

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def _from_url(model: str, url: str) -> Path:
    from timm.models._hub import download_cached_file

    cached = _url_cache(url)
    if cached.is_file():
        return cached
    if not _reachable(url):
        raise _unreachable(model, url, f"{urlparse(url).hostname} cannot be reached", put=cached)
    try:
        return Path(download_cached_file(url, check_hash=True))
    except (OSError, RuntimeError) as error:  # a wrong checksum is a RuntimeError
        raise _unreachable(model, url, str(error), put=cached) from error


def _reachable(endpoint: str) -> bool:
    """Whether the host's name resolves: asked first, because the hub's client retries for most of a minute."""
    if getproxies():
        return True  # a proxy resolves names for us
    try:
        socket.getaddrinfo(urlparse(endpoint).hostname, 443)
    except OSError:
        return False
    return True


def _unreachable(model: str, address: str, reason: str, put: Path | None = None) -> WeightsError:
    file = f"{model}{Path(urlparse(address).path).suffix}"
    there = f"put it at {put}, or " if put else ""
    return WeightsError(
        f"the published weights of {model} are not in the cache and cannot be fetched: {reason}.\n"
        f"Fetch {address} elsewhere, then {there}name the file (pretrained: /path/to/file); for several models keep "
        f"one file each in a folder, this one as {file}, and name the folder; {_WITHOUT}"
    )
