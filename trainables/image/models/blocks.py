"""Into how many blocks the parameters of well-known models fall, their head included, as `block_numbers` counts them.

`finetune: last_n` and `layer_lr_decay` tell blocks apart: what is more than all of them is refused.
"""

from __future__ import annotations

_NAMES: dict[int, str] = {
    4: "simple_cnn3",
    5: "cnn4",
    6: "cnn5_avg mlp6 resnet10t resnet14t",
    9: "vgg11",
    10: "squeezenet1_0 squeezenet1_1 resnet18 resnet18d resnet26 resnet26d",
    11: "googlenet",
    12: "tinynet_e mobilevit_xxs mobilevit_xs mobilevit_s fastvit_t8 poolformer_s12",
    14: """
        swin_tiny_patch4_window7_224 mobilenetv3_small_050 mobilenetv3_small_075 mobilenetv3_small_100
        hardcorenas_a convnext_atto convnext_femto convnext_pico convnextv2_atto edgenext_xx_small
        vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224 deit_tiny_patch16_224
        deit_small_patch16_224 deit3_small_patch16_224 vit_base_patch32_224 vgg16 inception_v3
    """,
    15: "cspresnet50 regnetx_002 regnety_002 lcnet_050 lcnet_100",
    16: "regnety_008 convnext_nano",
    17: "vgg11_bn vgg19",
    18: """
        shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 resnet34 resnet50
        resnet50d wide_resnet50_2 resnext50_32x4d resnetv2_50 seresnet50 res2net50_26w_4s regnetx_008
        regnety_004 semnasnet_100 mixnet_s efficientnet_b0 efficientnet_lite0 tf_efficientnet_b0
        tf_efficientnet_lite0 mobilenetv3_large_100 mobilenetv3_large_075
    """,
    19: "mobilenetv2_050 mobilenetv2_100 mobilenetv2_140 mnasnet_100 mobilenetv4_conv_small ghostnet_100",
    20: "convnext_tiny convnextv2_tiny",
    21: "tinynet_a inception_v4",
    23: "fbnetc_100 repvgg_a0 tf_efficientnetv2_b0",
    24: "regnetx_004",
    25: "darknet53 cspdarknet53 efficientnet_b1 efficientnet_b2 mobilenetv4_conv_medium",
    26: "swin_small_patch4_window7_224 swin_base_patch4_window7_224 vit_large_patch16_224",
    27: "vgg16_bn",
    28: "efficientnet_b3",
    35: "resnet101",
    38: "convnext_small convnext_base",
    41: "efficientnetv2_rw_t",
    42: "tf_efficientnetv2_s",
    44: "mobileone_s0",
    52: "resnet152",
    60: "densenet121",
    84: "densenet169",
    100: "densenet201",
}
NUM_BLOCKS: dict[str, int] = {name: number for number, names in _NAMES.items() for name in names.split()}
