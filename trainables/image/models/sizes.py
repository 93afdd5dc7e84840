"""How large models are, known without torch: for the forecast of what a sweep needs on disk."""

from __future__ import annotations

from trainables.image.models.table import OWN_NETS, timm_name

MILLIONS: dict[str, float] = {
    "simple_cnn3": 0.2,
    "cnn4": 0.6,
    "cnn5_avg": 2.1,
    "shufflenet_v2_x0_5": 1.4,
    "shufflenet_v2_x1_0": 2.3,
    "shufflenet_v2_x1_5": 3.5,
    "shufflenet_v2_x2_0": 7.4,
    "squeezenet1_0": 1.2,
    "squeezenet1_1": 1.2,
    "googlenet": 6.6,
    "resnet10t": 5.4,
    "resnet14t": 10.1,
    "resnet18": 11.7,
    "resnet18d": 11.7,
    "resnet26": 16.0,
    "resnet26d": 16.0,
    "resnet34": 21.8,
    "resnet50": 25.6,
    "resnet50d": 25.6,
    "resnet101": 44.7,
    "resnet152": 60.3,
    "wide_resnet50_2": 69.0,
    "resnext50_32x4d": 25.1,
    "resnetv2_50": 25.6,
    "seresnet50": 28.1,
    "res2net50_26w_4s": 25.8,
    "cspresnet50": 21.7,
    "darknet53": 41.6,
    "cspdarknet53": 27.7,
    "regnetx_002": 2.7,
    "regnetx_004": 5.2,
    "regnetx_008": 7.3,
    "regnety_002": 3.2,
    "regnety_004": 4.4,
    "regnety_008": 6.3,
    "mobilenetv2_050": 2.0,
    "mobilenetv2_100": 3.5,
    "mobilenetv2_140": 6.2,
    "mobileone_s0": 5.4,
    "mnasnet_100": 4.4,
    "semnasnet_100": 3.9,
    "fbnetc_100": 5.6,
    "mixnet_s": 4.2,
    "tinynet_a": 6.2,
    "tinynet_e": 2.1,
    "repvgg_a0": 9.1,
    "mobilevit_xxs": 1.3,
    "mobilevit_xs": 2.3,
    "mobilevit_s": 5.6,
    "fastvit_t8": 4.1,
    "efficientnet_b0": 5.3,
    "efficientnet_b1": 7.9,
    "efficientnet_b2": 9.2,
    "efficientnet_b3": 12.3,
    "efficientnet_lite0": 4.7,
    "efficientnetv2_rw_t": 13.8,
    "tf_efficientnet_b0": 5.3,
    "tf_efficientnet_lite0": 4.7,
    "tf_efficientnetv2_b0": 7.2,
    "tf_efficientnetv2_s": 21.6,
    "swin_tiny_patch4_window7_224": 28.5,
    "swin_small_patch4_window7_224": 49.9,
    "swin_base_patch4_window7_224": 88.1,
    "mobilenetv3_small_050": 1.6,
    "mobilenetv3_small_075": 2.1,
    "mobilenetv3_small_100": 2.6,
    "mobilenetv3_large_100": 5.5,
    "lcnet_050": 1.9,
    "lcnet_100": 3.0,
    "mobilenetv4_conv_small": 3.8,
    "mobilenetv4_conv_medium": 9.8,
    "hardcorenas_a": 5.3,
    "mobilenetv3_large_075": 4.0,
    "ghostnet_100": 5.2,
    "poolformer_s12": 11.9,
    "convnext_atto": 3.7,
    "convnext_femto": 5.2,
    "convnext_pico": 9.0,
    "convnext_nano": 15.6,
    "convnext_tiny": 28.6,
    "convnext_small": 50.2,
    "convnext_base": 88.6,
    "convnextv2_atto": 3.7,
    "convnextv2_tiny": 28.6,
    "edgenext_xx_small": 1.3,
    "vit_tiny_patch16_224": 5.7,
    "vit_small_patch16_224": 22.1,
    "vit_base_patch16_224": 86.6,
    "vit_large_patch16_224": 304.3,
    "deit_tiny_patch16_224": 5.7,
    "deit_small_patch16_224": 22.1,
    "deit3_small_patch16_224": 22.1,
    "vit_base_patch32_224": 88.2,
    "densenet121": 8.1,
    "densenet169": 14.3,
    "densenet201": 20.2,
    "vgg11": 132.9,
    "vgg11_bn": 132.9,
    "vgg16": 138.4,
    "vgg16_bn": 138.4,
    "vgg19": 143.7,
    "inception_v3": 23.9,
    "inception_v4": 42.7,
}
"""Parameters and buffers with 1,000 classes and the default width, as `build_model` makes them."""

_MLP6_OWN = 520_424  # without its first layer
_MLP6_WIDTH, _CNN_WIDTH = 256, 32  # where the file names none


def num_values(model: str, input_resolution: int, width: int | None = None) -> int | None:
    """How many parameters and buffers a model has, about.

    Args:
        model: its name.
        input_resolution: in pixels.
        width: of a net of our own; None: its default.

    Returns:
        None for a model that is not in the table.
    """
    name = timm_name(model)
    if name == "mlp6":
        scale = (width or _MLP6_WIDTH) / _MLP6_WIDTH
        return int(3 * input_resolution**2 * _MLP6_WIDTH * scale + _MLP6_OWN * max(1.0, scale) ** 2)
    if name not in MILLIONS:
        return None
    scale = max(1.0, (width or _CNN_WIDTH) / _CNN_WIDTH) ** 2 if name in OWN_NETS else 1.0
    return int(MILLIONS[name] * 1e6 * scale)
