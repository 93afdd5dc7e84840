"""The package's `README.md`: what the model is, how good, where it ends, and how to use it without this project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.facts import MEANINGS, ONNX_LATENCY, ONNX_LATENCY_P95, setting_of

README_FILE = "README.md"
_SHOWN_CLASSES = 50


def use_in_python(card: Mapping[str, Any]) -> str:
    """Three lines that need onnxruntime, numpy and pillow; of a package without ONNX some more, and timm."""
    if "model.onnx" not in card["files"]:
        return _use_weights(card)
    mode = "RGB" if card["channels"] == 3 else "L"
    depth = card["channels"]
    return (
        "import json, numpy as np, onnxruntime as ort; from PIL import Image, ImageOps\n"
        f'photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{mode}")'
        f"; pixels = np.asarray(photo).reshape(1, photo.height, photo.width, {depth})\n"
        'model = ort.InferenceSession("model.onnx"); print(dict(zip(json.loads(model.get_modelmeta()'
        '.custom_metadata_map["classes"]), model.run(None, {"images": pixels})[0][0].tolist())))\n'
    )


def _use_weights(card: Mapping[str, Any]) -> str:
    pixels, made = card["preprocessing"]["in_graph"], card["architecture"]
    mode, size = "RGB" if card["channels"] == 3 else "L", card["input_resolution"]
    gem = ["from trainables.image.models.gem import use_gem; use_gem(model)"] if made["gem"] else []
    function = "sigmoid()" if card["multilabel"] else "softmax(dim=-1)"
    temperature = card["preprocessing"]["output"].get("temperature")
    logits = "model((pixels - mean) / std)"
    if temperature is not None:
        logits = f"({logits} / {temperature})"
    lines = [
        "import json, numpy as np, timm, torch",
        "from PIL import Image, ImageOps; from safetensors.torch import load_file",
        'card = json.load(open("model.json", encoding="utf-8"))',
        'model = timm.create_model(card["architecture"]["name"], **card["architecture"]["options"])',
        *gem,
        'model.load_state_dict(load_file("model.safetensors")); model.eval()',
        f'photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{mode}")',
        f"photo = photo.resize(({size}, {size}), Image.Resampling.BILINEAR)  # in training: {pixels['resize']}",
        f"pixels = torch.from_numpy(np.array(photo)).view({size}, {size}, {card['channels']})",
        "pixels = pixels.permute(2, 0, 1)[None] / 255",
        f"mean, std = (torch.tensor(one).view(1, -1, 1, 1) for one in ({pixels['mean']}, {pixels['std']}))",
        f'print(dict(zip(card["classes"], {logits}.{function}[0].tolist())))',
    ]
    return "\n".join(lines) + "\n"


def _division(counts: Mapping[str, int], num_folds: int) -> str:
    if num_folds:
        return f"{counts['train']} examples for training and validation, in {num_folds} folds"
    return f"{counts['train']} examples for training, {counts['val']} for validation"


def _refit(card: Mapping[str, Any]) -> str:
    """What the model was trained on, where that is not the trial's train split."""
    refit = card["origin"].get("refit")
    if not refit:
        return ""
    num_examples = sum(card["data"]["num_examples"][split] for split in refit["splits"])
    of = "" if card["data"].get("num_folds") else f" of {' and '.join(refit['splits'])}"
    epochs = f"{refit['epochs']} epoch{'s' if refit['epochs'] != 1 else ''}"
    return (
        f"After the search, this model was retrained on all {num_examples} examples{of}, for {epochs}: the best "
        "epoch of its trial. Metrics on train and val below are the trial's, whose models had not seen val; those on "
        "test are this model's.\n"
    )


def _speed(card: Mapping[str, Any]) -> str:
    """What was measured of the package; empty when nothing was."""
    measured = card.get("measured")
    if not measured:
        return ""
    facts = measured["facts"]
    lines = [
        f"| {words} | {facts[name]:,.0f} |"
        for name, words in MEANINGS.items()
        if name != ONNX_LATENCY and name in facts
    ]
    for name, value in facts.items():
        setting = setting_of(name)
        if setting is not None and name == setting.fact:
            p95 = facts.get(setting.p95_fact, value)
            lines.append(f"| {setting} | {value:.4g} ms (95th percentile {p95:.4g}) |")
    rows = "\n".join(lines)
    return f"""## Size and speed

| what | value |
|---|---|
{rows}

Measured on {measured["on"]}: times on other machines differ (`sweep bench`). Times are per batch, medians of
single runs after a warm-up, without reading image files.

"""


_OPENVINO = (
    " OpenVINO's needs its `.bin` beside it, and takes images of the model's own size:"
    ' `openvino.Core().compile_model("model.openvino.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})`. Without the'
    " setting, answers are rounded on processors that compute in bfloat16."
)


def _formats(card: Mapping[str, Any]) -> str:
    """The files of the same model, and what each is worth; empty where there is the float one alone."""
    formats, left_out = card.get("formats", {}), card.get("formats_left_out", {})
    if not formats and not left_out:
        return ""
    rows = "".join(_format_row(entry) for entry in formats.values())
    text = "## Formats\n\n"
    if rows:
        score = "F1 of an example" if card["multilabel"] else "accuracy"
        text += (
            "Each ONNX file is the whole model, and is used as `model.onnx` is."
            f"{_OPENVINO if 'openvino' in formats else ''}\n\n| file | MB | {score} on val "
            "| drop on val | same answers | on test | ms for one image, one thread |\n|---|---|---|---|---|---|---|\n"
            f"{rows}\nMeasured on {card['formats_measured_on']}. A file was added only if it loses at most "
            f"{card['formats_max_drop']:g} percentage points on val; recipes were chosen there, too.\n"
        )
    text += "".join(f"\n{name} is left out: {why}.\n" for name, why in left_out.items())
    return text + "\n"


def _format_row(entry: Mapping[str, Any]) -> str:
    judged = dict(entry["judged"])
    test = judged.pop("test", None)
    (chosen,) = judged.values()
    took, p95 = (entry["facts"].get(fact) for fact in (ONNX_LATENCY, ONNX_LATENCY_P95))
    compared = ("", "")
    if "recipe" in entry:
        compared = (chosen["drop"], f"{chosen['num_agreeing']} of {chosen['num_examples']}")
    cells = (
        f"`{entry['file']}`",
        f"{entry['bytes'] / 1e6:.2f}",
        chosen["score"],
        *compared,
        test["score"] if test else "",
        "" if took is None else f"{took:.4g}" + ("" if p95 is None else f" (p95 {p95:.4g})"),
    )
    return f"| {' | '.join(cells)} |\n"


def _how_sure(origin: Mapping[str, Any]) -> str:
    lines = "".join(f"- {line[:1].upper()}{line[1:]}.\n" for line in origin.get("answer", ()))
    return f"## Confidence\n\n{lines}\n" if lines else ""


def _network(card: Mapping[str, Any]) -> str:
    """The network's name; of an ensemble all of them, and how many run for a picture."""
    if "networks" not in card:
        return str(card["config"].get("model", "unknown"))
    names = ", ".join(f"{each['model']} at {each['input_resolution']} px" for each in card["networks"])
    shared = "" if card["num_backbones"] == len(card["networks"]) else f", {card['num_backbones']} of them run"
    return f"the mean of the probabilities of {len(card['networks'])} networks ({names}{shared})"


def _how_calibrated(origin: Mapping[str, Any]) -> str:
    """What a probability says."""
    told = origin.get("temperature") or {}
    if "value" not in told:
        return "Probabilities may be overconfident."
    effects = "".join(
        f"On {split} the calibration error is {error[1]:.4f} ({error[0]:.4f} without it), the log loss {loss[1]:.4f} "
        f"({loss[0]:.4f}). "
        for split in ("val", "test")
        if (error := told.get(f"{split}_calibration_error")) and (loss := told.get(f"{split}_log_loss"))
    )
    return (
        f"Logits are divided by a temperature of {told['value']:.4g}, fitted on {told['num_examples']:,} val examples. "
        f"{effects}The predicted classes are the same."
    )


def _made_of(origin: Mapping[str, Any]) -> str:
    """Which trials the weights are of."""
    made = origin.get("candidate")
    if not made:
        return f"trial {origin.get('trial', 'unknown')}, epoch {origin.get('epoch', '?')}"
    what = {"soup": "the mean of the weights (greedy soup) of", "ensemble": "an ensemble of"}[made["kind"]]
    of = [f"trial {trial} (epoch {epoch})" for trial, _, epoch in (each.partition(":") for each in made["made_of"])]
    return f"{what} {', '.join(of)}"


def _shown(data: Mapping[str, Any]) -> str:
    """What of an image the model knows, where that is not the whole of it."""
    if not data.get("shown"):
        return ""
    return (
        f"Examples are {data['shown']} (`data.view: {data['view']}`): give the model such images, not whole photos.\n"
    )


def model_card(card: Mapping[str, Any]) -> str:
    """The page, in Markdown.

    Args:
        card: as `model.json` has it.
    """
    origin, data = card["origin"], card["data"]
    shown = ", ".join(card["classes"][:_SHOWN_CLASSES]) + (", ..." if len(card["classes"]) > _SHOWN_CLASSES else "")
    kind = "any number of labels" if card["multilabel"] else "exactly one class"
    counts = data["num_examples"]
    # What an epoch cost belongs to the sweep's tables, not to what the model can do.
    judged = {name: value for name, value in card["metrics"].items() if name.startswith(("train_", "val_", "test_"))}
    sure = origin.get("intervals", {})
    metrics = "".join(f"| {name} | {sure.get(name) or f'{value:.4g}'} |\n" for name, value in sorted(judged.items()))
    test = (
        ""
        if any(name.startswith("test_") for name in card["metrics"])
        else (
            "- It was not evaluated on test data: it was chosen by its metrics on val, which are therefore "
            "optimistic.\n"
        )
    )
    uses = origin.get("test_uses", 0)
    if uses == 1 and not test:
        test = "- The test data was used once, for this model.\n"
    elif uses > 1:
        test += f"- {uses} models of the sweep were evaluated on its test data: metrics on test are optimistic, too.\n"
    needs = (
        "Needs `onnxruntime`, `numpy` and `pillow`. The graph resizes, scales and normalises the pixels itself."
        if "model.onnx" in card["files"]
        else "Needs `timm`, `safetensors`, `numpy` and `pillow`: this model has no ONNX translation."
    )
    return f"""# {origin.get("sweep", "Image classifier")}

Assigns an image {kind} of {len(card["classes"])}: {shown}.

- Model: {_network(card)}, {card["num_parameters"]:,} parameters, {card["input_resolution"]} px
- From: sweep {origin.get("sweep", "unknown")}, {_made_of(origin)}
- Exported: {card["created"]}

## Use

```python
{use_in_python(card)}```

{needs}

## Data

{_division(counts, data.get("num_folds", 0))}, {counts["test"]} for the final test.
{_shown(data)}{_refit(card)}Fingerprint: `{data["fingerprint"]}`.

## Metrics

| metric | value |
|---|---|
{metrics}
{_how_sure(origin)}{_speed(card)}{_formats(card)}## Limits

- It knows only these classes, and assigns one of them to any image, whatever it shows.
- The metrics hold for images like those of the data above; evaluate it on others first (`sweep evaluate`).
- {_how_calibrated(origin)}
{test}"""
