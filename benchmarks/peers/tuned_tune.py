"""The peer of `whole_job`: Ray Tune with OptunaSearch as somebody writes it who knows both, in one script.

Of what their documentation and PyTorch's tuning guide advise it has: reused actors, channels last, a thread a trial,
the frozen backbone without gradients, two trials at a time. Data comes from torchvision's ImageFolder and DataLoader.
Usage: python benchmarks/peers/tuned_tune.py PHOTOS WEIGHTS NUM_TRIALS STORAGE RESULT_FILE
"""

import json
import sys
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search.optuna import OptunaSearch

EPOCHS = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def train(config: dict[str, Any]) -> None:
    # In here, as usual with Ray: a function that names these modules cannot always be sent to a worker.
    import timm
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.set_num_threads(1)
    torch.manual_seed(0)
    size = (config["input_resolution"], config["input_resolution"])
    prepared = transforms.Compose([transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    training, validation = (
        DataLoader(ImageFolder(f"{config['photos']}/{split}", prepared), config["batch_size"], shuffle=split == "train")
        for split in ("train", "val")
    )
    classes = len(training.dataset.classes)  # type: ignore[attr-defined]
    model = timm.create_model("mobilenetv2_100", num_classes=classes, global_pool=config["pooling"])
    weights = torch.load(config["weights"], weights_only=True)
    model.load_state_dict({name: value for name, value in weights.items() if "classifier" not in name}, strict=False)
    model = model.to(memory_format=torch.channels_last).eval()
    head = model.get_classifier()
    head.reset_parameters()  # timm's first weights are so large that four epochs are not enough
    if config["optimizer"] == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(head.parameters(), lr=config["lr"])
    else:
        optimizer = torch.optim.SGD(head.parameters(), lr=config["lr"], momentum=0.9)
    for _ in range(EPOCHS):
        for images, targets in training:
            with torch.no_grad():
                maps = model.forward_features(images.to(memory_format=torch.channels_last))
                features = model.forward_head(maps, pre_logits=True)
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(features), targets).backward()
            optimizer.step()
        right = 0
        with torch.no_grad():
            for images, targets in validation:
                right += int((model(images.to(memory_format=torch.channels_last)).argmax(1) == targets).sum())
        tune.report({"val_accuracy": right / len(validation.dataset)})  # type: ignore[arg-type]


if __name__ == "__main__":
    photos, weights_file, num_trials, storage, result_file = sys.argv[1:]
    space = {
        "photos": photos,
        "weights": weights_file,
        "lr": tune.loguniform(1e-4, 1e-2),
        "optimizer": tune.choice(["adam", "sgd"]),
        "batch_size": tune.choice([16, 32, 64]),
        "pooling": tune.choice(["avg", "max"]),
        "input_resolution": tune.choice([64, 96, 128]),
    }
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            num_samples=int(num_trials),
            max_concurrent_trials=2,
            search_alg=OptunaSearch(seed=0),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=storage),
    )
    results = tuner.fit()
    assert results.num_errors == 0
    best = max(max(result.metrics_dataframe["val_accuracy"]) for result in results)
    Path(result_file).write_text(json.dumps({"trials": len(results), "best": best}))
