"""Write src/tlmed/models/known_backbones.csv: sizes of the networks that recipes name, and what timm says of weights.

python benchmarks/backbone_table.py

Parameters and multiply-adds are those of the backbone without a classifier, for one colour image of the usual size.
Nothing is downloaded, and no weight is drawn.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tlmed.models.torchvision_networks import NETWORK_NAMES, create_torchvision_network

TABLE = Path(__file__).parents[1] / "src" / "tlmed" / "models" / "known_backbones.csv"
NAMES = [
    *(f"vit_{size}_patch{patch}_224" for size in ("tiny", "small", "base", "large") for patch in (16, 32)),
    *(f"deit_{size}_patch16_224" for size in ("tiny", "small", "base")),
    *(f"swin_{size}_patch4_window7_224" for size in ("tiny", "small", "base")),
    *(f"convnext_{size}" for size in ("tiny", "small", "base")),
    *("resnet10t", "resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2"),
    *("densenet121", "densenet169", "densenet201"),
    *("vgg16", "vgg19", "alexnet", "googlenet", "inception_v3", "squeezenet1_1"),
    *("efficientnet_b0", "efficientnet_b4", "mobilenetv3_large_100"),
]
# Files of torchvision, whose documentation states no licence for its weights.
TORCHVISION_FILES = {
    "alexnet": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "googlenet": "https://download.pytorch.org/models/googlenet-1378be20.pth",
    "squeezenet1_1": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}
COLLECTIONS = {"in1k": "ImageNet-1k", "in12k": "ImageNet-12k", "in21k": "ImageNet-21k", "in22k": "ImageNet-22k"}
USUAL_SIZE = 224


def create(name: str) -> nn.Module:
    """Build a network without memory for its weights."""
    with torch.device("meta"):
        if name in NETWORK_NAMES:
            return create_torchvision_network(name, 3)
        if not timm.is_model(name):
            return timm.create_model(name.replace("patch32", "patch16"), num_classes=0, patch_size=32)
        return timm.create_model(name, num_classes=0)


def giga_multiply_adds(network: nn.Module, size: int) -> float:
    """Count with attention step by step, whose products the counter knows."""
    for layer in network.modules():
        if hasattr(layer, "fused_attn"):
            layer.fused_attn = False
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, size, size, device="meta"))
    return counter.get_total_flops() / 2e9


def row(name: str) -> dict[str, Any]:
    network = create(name)
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    size = config.input_size[1] if config is not None else USUAL_SIZE
    weights, tag = TORCHVISION_FILES.get(name, ""), "in1k" if name in TORCHVISION_FILES else ""
    if config is not None:
        weights, tag = f"hub:{config.hf_hub_id}", config.tag
    embedding = getattr(network, "patch_embed", None)
    is_plain = isinstance(network, timm.models.vision_transformer.VisionTransformer)
    return {
        "name": name,
        "library": "torchvision" if name in NETWORK_NAMES else "timm",
        "parameters_million": f"{sum(value.numel() for value in network.parameters()) / 1e6:.3f}",
        "giga_multiply_adds": f"{giga_multiply_adds(network, size):.4f}",
        "image_size": size,
        "patch_size": embedding.patch_size[0] if embedding is not None else "",
        "width": network.embed_dim if is_plain else "",
        "depth": len(network.blocks) if is_plain else "",
        "weights": weights,
        "pretrained_on": ", then ".join(COLLECTIONS[part] for part in re.findall("|".join(COLLECTIONS), tag)),
        "licence": (config.license or "") if config is not None else "",
    }


def main() -> None:
    rows = [row(name) for name in NAMES]
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} networks in {TABLE}")


if __name__ == "__main__":
    main()
