"""The zoo's networks for pictures: architectures of torchvision and timm, made narrow."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from tools.peers import zoo_nets
from tools.peers.zoo_torch import Network, thin
from tools.peers.zoo_torchvision import detection, timm, torchvision

__all__ = ["networks"]

CLASSES = 10
models = torchvision.models


def networks() -> Iterator[Network]:
    """Yield every network for pictures."""
    yield from _thinned()
    yield from _small()
    yield from _configured()
    yield from _timm()
    yield from _dense()


def picture(side: int, channels: int = 3) -> Callable[[], dict[str, Tensor]]:
    """Two square pictures."""
    return lambda: {"input": torch.randn(2, channels, side, side)}


def _thinned() -> Iterator[Network]:
    """Networks at their full depth, with an eighth or a sixteenth of their channels."""
    for name, family, side, by in (
        ("alexnet", "AlexNet", 64, 16),
        ("vgg11_bn", "VGG", 32, 16),
        ("vgg16", "VGG", 32, 16),
        ("resnet18", "ResNet", 32, 8),
        ("resnet50", "ResNet", 32, 8),
        ("resnext50_32x4d", "ResNeXt", 32, 8),
        ("googlenet", "Inception", 64, 8),
        ("inception_v3", "Inception", 96, 16),
        ("squeezenet1_1", "SqueezeNet", 64, 8),
        ("mobilenet_v2", "MobileNet", 64, 8),
        ("mobilenet_v3_small", "MobileNetV3", 64, 8),
        ("mobilenet_v3_large", "MobileNetV3", 64, 8),
        ("efficientnet_b0", "EfficientNet", 64, 8),
        ("efficientnet_v2_s", "EfficientNet", 64, 8),
        ("regnet_y_400mf", "RegNet", 64, 8),
        ("regnet_x_400mf", "RegNet", 64, 8),
    ):
        yield Network(
            name=name, family=family, build=partial(_thin, name, by), sample=picture(side)
        )


def _small() -> Iterator[Network]:
    """The same with as few channels as leave something to see, for the files in the tests."""
    for name, family, by in (
        ("vgg11_bn", "VGG", 64),
        ("resnet18", "ResNet", 32),
        ("mobilenet_v3_small", "MobileNetV3", 32),
    ):
        build = partial(_thin, name, by)
        yield Network(name=name, family=family, variant="small", build=build, sample=picture(32))


def _thin(name: str, by: int) -> nn.Module:
    options: dict[str, object] = {"num_classes": CLASSES}
    if name in {"googlenet", "inception_v3"}:
        options |= {"aux_logits": False, "init_weights": False}
    net = getattr(models, name)(**options)
    if width := {"alexnet": 256, "vgg11_bn": 512, "vgg16": 512}.get(name):
        net.avgpool = nn.AdaptiveAvgPool2d(1)
        first = next(part for part in net.classifier if isinstance(part, nn.Linear))
        first.in_features = width
    return thin(net, by)


def _configured() -> Iterator[Network]:
    """Networks whose constructors take widths."""
    resnet = partial(timm.models.resnet.ResNet, num_classes=CLASSES, channels=(8, 16, 32, 64))
    block = timm.models.resnet
    convnext = models.convnext
    vit = partial(
        models.VisionTransformer,
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=CLASSES,
    )
    swin = {"patch_size": [4, 4], "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4]}
    swin |= {"window_size": [4, 4], "num_classes": CLASSES}
    settings = [convnext.CNBlockConfig(16, 32, 1), convnext.CNBlockConfig(32, None, 2)]
    swin_two = models.swin_transformer
    for name, family, side, build in (
        ("resnet_basic", "ResNet", 32, partial(resnet, block.BasicBlock, (1, 1, 1, 1))),
        ("resnet_se", "ResNet", 32, partial(
            resnet, block.Bottleneck, (1, 1, 1, 1), block_args={"attn_layer": "se"}
        )),
        ("densenet", "DenseNet", 32, partial(
            models.DenseNet, 8, (2, 3, 2), 16, num_classes=CLASSES
        )),
        ("convnext", "ConvNeXt", 32, partial(convnext.ConvNeXt, settings, num_classes=CLASSES)),
        ("swin", "Swin", 32, partial(models.SwinTransformer, **swin)),
        ("swin_v2", "Swin", 32, partial(
            models.SwinTransformer, **swin,
            block=swin_two.SwinTransformerBlockV2, downsample_layer=swin_two.PatchMergingV2,
        )),
        ("vit", "ViT", 32, vit),
        ("shufflenet", "ShuffleNet", 64, partial(
            models.ShuffleNetV2, [2, 2, 2], [8, 16, 32, 64, 64], num_classes=CLASSES
        )),
    ):  # fmt: skip
        yield Network(name=name, family=family, build=build, sample=picture(side))


def _timm() -> Iterator[Network]:
    """Networks of timm by name, with their sizes overridden."""
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    mixer = partial(timm.models.mlp_mixer.MlpMixer, CLASSES, 32, 3, 8, num_blocks=2, embed_dim=16)
    gated = {
        "block_layer": timm.models.mlp_mixer.SpatialGatingBlock,
        "mlp_layer": timm.layers.GatedMlp,
        "mlp_ratio": 6,
    }
    stages = {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "num_classes": CLASSES}
    make = partial(timm.create_model, num_classes=CLASSES)
    for name, family, side, build in (
        ("deit", "DeiT", 32, partial(make, "deit_tiny_patch16_224", **small)),
        ("deit_distilled", "DeiT", 32, partial(make, "deit_tiny_distilled_patch16_224", **small)),
        ("eva02", "ViT", 32, partial(make, "eva02_tiny_patch14_224", **small)),
        ("mixer", "Mixer", 32, mixer),
        ("gmlp", "Mixer", 32, partial(mixer, **gated)),
        ("convnext_v2", "ConvNeXt", 64, partial(
            timm.models.convnext.ConvNeXt, **stages, use_grn=True, ls_init_value=None
        )),
        ("poolformer", "MetaFormer", 64, partial(timm.models.metaformer.MetaFormer, **stages)),
        ("nf_resnet", "ResNet", 32, partial(make, "nf_resnet26", width_factor=0.125)),
        ("repvgg", "VGG", 32, lambda: thin(make("repvgg_a0"), 8)),
        ("hrnet", "HRNet", 64, lambda: thin(make("hrnet_w18_small"), 8)),
        ("mobilevit", "ViT", 64, partial(make, "mobilevit_xxs")),
        ("levit", "ViT", 64, partial(
            make, "levit_128s", img_size=64, embed_dim=(16, 24, 32), key_dim=8, num_heads=(2, 3, 4)
        )),
    ):  # fmt: skip
        yield Network(name=name, family=family, build=build, sample=picture(side))


def _dense() -> Iterator[Network]:
    """Networks with an output per pixel or per box."""
    lab = models.segmentation
    for name, family, side, build in (
        ("unet", "U-Net", 32, partial(zoo_nets.UNet, learned=True)),
        ("unet_resize", "U-Net", 32, partial(zoo_nets.UNet, learned=False)),
        ("deeplab_v3", "DeepLab", 64, lambda: _segmenter(lab.deeplabv3_mobilenet_v3_large)),
        ("lraspp", "DeepLab", 64, lambda: _segmenter(lab.lraspp_mobilenet_v3_large)),
        ("yolo_v5", "YOLO", 64, partial(zoo_nets.Yolo, anchors=3)),
        ("yolo_v8", "YOLO", 64, partial(zoo_nets.Yolo, anchors=0)),
        ("ssd", "SSD", 96, partial(detection, boxes=False)),
        ("ssd_boxes", "SSD", 96, partial(detection, boxes=True)),
    ):
        yield Network(name=name, family=family, build=build, sample=picture(side))


class _Out(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)["out"]


def _segmenter(build: Callable[..., nn.Module]) -> nn.Module:
    net = build(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=None)
    return _Out(thin(net, 8))
