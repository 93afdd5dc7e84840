"""One door to every model: poolings, own nets, weights, freezing."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

from trainables.errors import TrainableError, WeightsError
from trainables.image.config import ImageConfig, Pooling
from trainables.image.models.factory import build_model, find_weights, normalization, starting_model
from trainables.image.models.freezing import block_numbers, frozen_norms
from trainables.image.models.gem import GeM
from trainables.image.models.table import ALIASES, MODELS, OWN_NETS, TORCHVISION_NETS
from trainables.image.models.tryout import has_effect, has_nothing_to_pool, impossible, num_blocks
from trainables.image.models.weights import published_weights, read_weights

NUM_CLASSES = 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def configured(**values: Any) -> ImageConfig:
    return ImageConfig.model_validate({"model": "resnet10t", "input_resolution": 32, **values})


def save_published(folder: Path, model: str, **options: Any) -> Path:
    """A file as somebody would publish it: timm's own model with 1000 classes."""
    torch.manual_seed(7)
    path = folder / f"{model}.pth"
    torch.save(timm.create_model(model, **options).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("model", "pooling"),
    [
        (model, pooling)
        for model in [*OWN_NETS, "resnet10t", "mobilenetv3_small_050", "shufflenet_v2_x0_5", "squeezenet1_1"]
        for pooling in MODELS[model].poolings
    ],
)
def test_every_pooling_trains(model: str, pooling: str) -> None:
    net = build_model(configured(model=model, pooling=pooling, pretrained=False), NUM_CLASSES).train()
    logits = net(torch.rand(4, 3, 32, 32))
    assert logits.shape == (4, NUM_CLASSES)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in net.get_classifier().parameters())  # type: ignore[operator]


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "deit_tiny_patch16_224"])
@pytest.mark.parametrize("pooling", ["native", "token", "map", "avg"])
def test_transformers_have_poolings_of_their_own(model: str, pooling: str) -> None:
    net: Any = build_model(configured(model=model, pooling=pooling), NUM_CLASSES)
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, NUM_CLASSES)
    assert net.global_pool == ("token" if pooling == "native" else pooling)


def test_gem_lies_between_the_mean_and_the_maximum() -> None:
    pool = GeM()
    images = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    mean, most = images.mean((2, 3)), images.amax((2, 3))
    assert bool(((pool(images)[..., 0, 0] > mean) & (pool(images)[..., 0, 0] < most)).all())
    with torch.no_grad():
        pool.p.fill_(1.0)
    assert torch.allclose(pool(images)[..., 0, 0], mean)


@pytest.mark.parametrize("model", [*OWN_NETS, *TORCHVISION_NETS])
def test_own_nets_speak_timms_protocol(model: str) -> None:
    config = configured(model=model, input_resolution=32, color="grayscale", width=12)
    net: Any = build_model(config, NUM_CLASSES).eval()
    images = torch.rand(3, 1, 32, 32)
    pooled = net.forward_head(net.forward_features(images), pre_logits=True)
    assert pooled.shape == (3, net.get_classifier().in_features)
    assert torch.equal(net.get_classifier()(pooled), net(images))
    net.reset_classifier(9, "max")
    assert net(images).shape == (3, 9)


def test_width_and_dropout_reach_the_net() -> None:
    narrow = build_model(configured(model="simple_cnn3", width=4), NUM_CLASSES)
    wide = build_model(configured(model="simple_cnn3", width=8), NUM_CLASSES)
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in wide.parameters())
    dropping = build_model(configured(model="resnet10t", dropout=0.5), NUM_CLASSES).train()
    images = torch.rand(2, 3, 32, 32)
    assert not torch.equal(dropping(images), dropping(images))


def test_torchvisions_names_mean_timms_models() -> None:
    net = build_model(configured(model="mobilenet_v2"), NUM_CLASSES)
    assert net.pretrained_cfg["architecture"] == "mobilenetv2_100"  # type: ignore[index]
    assert all(timm.is_model(name) and name in MODELS for name in ALIASES.values())


def test_a_new_classifier_starts_near_chance() -> None:
    """timm's own start for this family gives a first loss of about 9 with five classes."""
    torch.manual_seed(0)
    net = build_model(configured(model="mobilenetv2_100"), NUM_CLASSES).eval()
    assert net.get_classifier().weight.abs().max() < 0.1  # type: ignore[operator]


def test_normalization_is_the_models_own() -> None:
    assert normalization(build_model(configured(model="simple_cnn3"), 2))[0] == (0.485, 0.456, 0.406)
    vit = build_model(configured(model="vit_tiny_patch16_224"), 2)
    assert normalization(vit) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    mean, std = normalization(build_model(configured(color="grayscale"), 2))
    assert len(mean) == len(std) == 1


# Weights


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_weights_are_loaded_but_for_the_classifier(tmp_path: Path, suffix: str) -> None:
    path = save_published(tmp_path, "resnet10t")
    published = torch.load(path, weights_only=True)
    if suffix == ".safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(published, path)
    config = configured(pretrained=str(path))
    net = starting_model(config, NUM_CLASSES, find_weights(config))
    loaded = net.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in published.items() if not name.startswith("fc."))
    assert loaded["fc.weight"].shape[0] == NUM_CLASSES
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_classifier_of_as_many_classes_is_kept(tmp_path: Path) -> None:
    path = save_published(tmp_path, "resnet10t", num_classes=NUM_CLASSES)
    net = starting_model(configured(), NUM_CLASSES, path)
    assert torch.equal(net.state_dict()["fc.weight"], torch.load(path, weights_only=True)["fc.weight"])


def test_a_training_checkpoint_gives_its_models_part(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    state = timm.create_model("resnet10t").state_dict()
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    net = starting_model(configured(), NUM_CLASSES, path)
    assert torch.equal(net.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


def test_grayscale_and_other_sizes_are_adapted(tmp_path: Path) -> None:
    gray = starting_model(configured(color="grayscale"), NUM_CLASSES, save_published(tmp_path, "resnet10t"))
    assert gray(torch.rand(2, 1, 32, 32)).shape == (2, NUM_CLASSES)
    path = save_published(tmp_path, "vit_tiny_patch16_224")
    vit = starting_model(configured(model="vit_tiny_patch16_224", input_resolution=64), NUM_CLASSES, path)
    assert vit(torch.rand(2, 3, 64, 64)).shape == (2, NUM_CLASSES)
    weights = torch.load(path, weights_only=True)
    assert torch.equal(vit.state_dict()["blocks.3.mlp.fc1.weight"], weights["blocks.3.mlp.fc1.weight"])


def test_a_folder_of_weights_is_searched_by_model(tmp_path: Path) -> None:
    path = save_published(tmp_path, "resnet10t")
    assert find_weights(configured(pretrained=str(tmp_path))) == path
    with pytest.raises(WeightsError, match="no weights of resnet18"):
        find_weights(configured(model="resnet18", pretrained=str(tmp_path)))


@pytest.mark.parametrize("name", ["resnet18.a1_in1k.safetensors", "resnet18_imagenet.pth", "resnet18-f37072fd.pth"])
def test_usual_names_of_weight_files_are_known(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "resnet18d.pth").touch()  # another model, as is the next
    (tmp_path / "resnet50_gn.pth").touch()
    config = configured(model="resnet18", pretrained=str(tmp_path))
    assert find_weights(config) == tmp_path / name
    with pytest.raises(WeightsError, match="no weights of resnet50"):
        find_weights(configured(model="resnet50", pretrained=str(tmp_path)))
    (tmp_path / "resnet18_mine.pt").touch()
    with pytest.raises(WeightsError, match=r"2 weight files of resnet18 \(.*resnet18_mine.pt"):
        find_weights(config)
    (tmp_path / "resnet18.pth").touch()
    assert find_weights(config) == tmp_path / "resnet18.pth"


def test_a_misspelt_folder_of_weights_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    with pytest.raises(WeightsError, match=r"Did you mean .*/weights\? Give a weight file .* a folder of them"):
        find_weights(configured(pretrained=str(tmp_path / "weight")))


def test_scratch_and_own_nets_need_no_weights(tmp_path: Path) -> None:
    assert find_weights(configured(pretrained=str(tmp_path / "missing.pth"), finetune="scratch")) is None
    assert find_weights(configured(pretrained=False)) is None
    assert find_weights(configured(model="simple_cnn3")) is None


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = save_published(tmp_path, "resnet10t")
    with pytest.raises(WeightsError, match=r"not the weights of resnet18: .* names are missing, the first is conv1"):
        starting_model(configured(model="resnet18"), NUM_CLASSES, path)
    with pytest.raises(WeightsError, match="not the weights of resnet14t"):
        starting_model(configured(model="resnet14t"), NUM_CLASSES, path)


def test_a_pooling_that_the_weights_do_not_fit_is_refused(tmp_path: Path) -> None:
    path = save_published(tmp_path, "mobilenetv3_small_050")
    config = configured(model="mobilenetv3_small_050", pooling="catavgmax")
    with pytest.raises(WeightsError, match="do not fit it with pooling catavgmax"):
        starting_model(config, NUM_CLASSES, path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_truncated_weights_are_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    state = timm.create_model("resnet10t").state_dict()
    (save_file if suffix == ".safetensors" else torch.save)(state, whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(WeightsError, match=r"cannot be read as weights .*cut short"):
        read_weights(cut)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_bomb_does_not_go_off(tmp_path: Path) -> None:
    target = tmp_path / "boom"
    torch.save({"state_dict": _Bomb(target)}, tmp_path / "bomb.pth")
    with pytest.raises(WeightsError, match="refused"):
        read_weights(tmp_path / "bomb.pth")
    assert not target.exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_weights(tmp_path / "other.pth")


def test_without_a_network_it_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"(?s)huggingface.co.*Fetch https://.*resnet10t.*model.safetensors"):
        published_weights("resnet10t")
    assert published_weights("simple_cnn3") is None


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("shufflenet_v2_x0_5", {}),
        ("squeezenet1_1", {}),
        ("googlenet", {"aux_logits": True, "transform_input": True, "init_weights": True}),
    ],
)
def test_torchvisions_own_files_fit(tmp_path: Path, model: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(model, weights=None, **options).eval()
    path = tmp_path / f"{model}.pth"
    torch.save(theirs.state_dict(), path)
    net: Any = starting_model(configured(model=model, pretrained=str(path)), 1000, path).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    if model != "squeezenet1_1":  # whose head is another one: see torchvision_nets
        with torch.no_grad():
            net.head.fc.load_state_dict(theirs.fc.state_dict())
            mean, std = normalization(net)
            centred = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
            imagenet = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
            assert torch.allclose(net(centred), theirs(imagenet), atol=1e-4)
    shared = [name for name in theirs.state_dict() if name in net.state_dict()]
    assert len(shared) >= 50
    assert all(torch.equal(theirs.state_dict()[name], net.state_dict()[name]) for name in shared)
    gray = starting_model(configured(model=model, color="grayscale"), NUM_CLASSES, path)
    assert gray(torch.rand(2, 1, 32, 32)).shape == (2, NUM_CLASSES)


@pytest.mark.parametrize("model", TORCHVISION_NETS)
def test_torchvisions_weights_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("trainables.image.models.weights._reachable", lambda address: False)
    with pytest.raises(
        WeightsError, match=r"(?s)download.pytorch.org cannot be reached.*Fetch https://.*put it at"
    ) as e:
        published_weights(model)
    (place,) = re.findall(r"put it at (\S+),", str(e.value))
    Path(place).parent.mkdir(parents=True)
    Path(place).touch()
    assert published_weights(model) == Path(place), "what is put there is found"


# Freezing


@pytest.mark.parametrize(
    ("model", "num"),
    [
        ("resnet18", 8),
        ("vit_tiny_patch16_224", 12),
        ("googlenet", 9),
        ("squeezenet1_1", 8),
        ("shufflenet_v2_x1_0", 16),
        ("mlp6", 5),
        ("cnn5_avg", 5),
    ],
)
def test_blocks_are_what_repeats(model: str, num: int) -> None:
    with torch.device("meta"):
        blocks = block_numbers(build_model(configured(model=model), NUM_CLASSES))
    num_first = 0 if model in OWN_NETS else 1  # the stem
    assert max(blocks.values()) == num + num_first


def test_head_trains_the_classifier_alone(tmp_path: Path) -> None:
    net = starting_model(configured(finetune="head"), NUM_CLASSES, save_published(tmp_path, "resnet10t"))
    assert [name for name, value in net.named_parameters() if value.requires_grad] == ["fc.weight", "fc.bias"]
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == len(frozen_norms(net)) > 0


def test_head_also_trains_what_the_weights_lack(tmp_path: Path) -> None:
    """A vision transformer that pools has a normalisation that the published one does not have."""
    path = save_published(tmp_path, "vit_tiny_patch16_224")
    config = configured(model="vit_tiny_patch16_224", finetune="head", pooling="avg")
    net = starting_model(config, NUM_CLASSES, path)
    trained = {name for name, value in net.named_parameters() if value.requires_grad}
    assert trained == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}


def test_nothing_is_held_when_all_is_trained() -> None:
    assert frozen_norms(starting_model(configured(), NUM_CLASSES)) == []


# The table


@pytest.mark.parametrize(
    "name",
    """
    simple_cnn3 mlp6 resnet10t mobilenetv3_small_050 ghostnet_100 convnext_atto vgg11 vit_tiny_patch16_224 inception_v3
    """.split(),  # noqa: SIM905
)
def test_the_table_says_what_is(name: str) -> None:
    facts = MODELS[name]
    size = max(64, facts.min_resolution)
    can = {kind for kind in get_args(Pooling) if impossible(name, kind, size) is None}
    assert can == set(facts.poolings)
    assert facts.drop_path == has_effect(name, "drop_path", size)
    assert facts.dropout == has_effect(name, "dropout", size)
    assert facts.num_blocks == num_blocks(name, size)
    assert impossible(name, "avg", facts.min_resolution) is None
    if facts.min_resolution > 8:
        assert impossible(name, "avg", facts.min_resolution - 1) is not None
    if facts.pools_from:
        assert [has_nothing_to_pool(name, facts.pools_from - less) for less in (1, 0)] == [True, False]
    assert facts.published == bool(timm.models.get_pretrained_cfg(name).has_weights)


def test_the_table_lists_models_that_there_are() -> None:
    assert [name for name in MODELS if name not in OWN_NETS and not timm.is_model(name)] == []


def test_a_model_that_cannot_be_made_is_an_error_for_the_user() -> None:
    with pytest.raises(TrainableError, match="convnext_atto cannot be made"):
        build_model(configured(model="convnext_atto", pooling="catavgmax"), NUM_CLASSES)


@pytest.mark.parametrize("name", ["simple_cnn3", "cnn4"])
def test_pooling_before_relu_is_relu_before_pooling(name: str) -> None:
    net = build_model(ImageConfig.model_validate({"model": name, "pretrained": False, "finetune": "scratch"}), 3)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = net.forward_features(images)
    maps.square().sum().backward()
    gradients = {key: value.grad.clone() for key, value in net.named_parameters() if value.grad is not None}
    net.zero_grad()
    expected = images
    for block in net.features:
        expected = torch.nn.functional.max_pool2d(torch.relu(block.conv(expected)), 2)
    assert torch.equal(maps, expected)
    expected.square().sum().backward()
    assert gradients
    for key, gradient in gradients.items():
        assert torch.equal(gradient, net.get_parameter(key).grad), key


def test_both_classifiers_of_volo_are_new_and_trained(tmp_path: Path) -> None:
    """Its answer is that of the class token and half of the best patch's, each from a classifier of its own."""
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("volo_d1_224", num_classes=7, img_size=64).state_dict(), weights)
    values = {"model": "volo_d1_224", "pretrained": str(weights), "finetune": "head", "input_resolution": 64}
    net = starting_model(ImageConfig.model_validate(values), 3, weights)
    trained = {name for name, value in net.named_parameters() if value.requires_grad}
    assert trained == {"head.weight", "head.bias", "aux_head.weight", "aux_head.bias"}
    assert net.head_names == trained
    assert not net.classifier_is_loaded


def test_a_normalisation_before_the_classifier_comes_with_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    published = timm.create_model("levit_128s", num_classes=7, img_size=224)
    torch.nn.init.uniform_(published.head.bn.weight)
    torch.save(published.state_dict(), weights)
    for color in ("rgb", "grayscale"):
        values = {"model": "levit_128s", "pretrained": str(weights), "input_resolution": 224, "color": color}
        net: Any = starting_model(ImageConfig.model_validate(values), 3, weights)
        assert torch.equal(net.head.bn.weight, published.head.bn.weight), color
        assert not net.classifier_is_loaded, "its last layer is new, and its head can be trained apart"
