"""Training throughput of ViT-S/16 at 224 px, batch 16, beside a bare loop and Hugging Face's Trainer.

TLMED_DATA=... python benchmarks/training.py --json training.json
TLMED_DATA=... python benchmarks/training.py --variants tlmed_resnet50 plain_resnet50
python benchmarks/training.py --device cuda            # ViT-B/16, and the share of the matrix peak that it reaches

One process a variant, rounds interleaved, each 3 untimed then 20 timed steps; AdamW (fused) in all:
  tlmed       its training loop with its defaults, from its prepared store (COVID-CT's training images)
  tlmed_compiled   the same with runtime.compile
  ceiling     a bare loop over one synthetic batch, timm's network as it comes, bf16 autocast
  hf_default  Hugging Face's Trainer with its defaults, decoding the files; hf_bf16 the same with bf16=True
  tlmed_resnet50, plain_resnet50   ResNet-50 through tlmed, and in a bare loop in plain float32
Needs `pip install 'tlmed[bench]'` for Hugging Face's variants.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUM_UNTIMED, NUM_TIMED = 3, 20
BATCH, SIZE, RATE = 16, 224, 3e-4
VARIANTS = ("tlmed", "ceiling", "hf_default", "hf_bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the answer")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments)))
        return
    variants = ["tlmed_vit_base"] if arguments.device == "cuda" else arguments.variants
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for _ in range(arguments.rounds):
        for name in variants:
            answers[name].append(_in_own_process(name))
            print(name, json.dumps(answers[name][-1]), file=sys.stderr, flush=True)
    flat = {}
    for name, of_rounds in answers.items():
        flat[name] = statistics.median(one["images_per_second"] for one in of_rounds)
        for key in of_rounds[0].keys() - {"images_per_second"}:
            flat[f"{name}_{key}"] = statistics.median(one[key] for one in of_rounds)
    flat |= {f"tlmed_to_{n}": round(flat["tlmed"] / flat[n], 3) for n in variants if n != "tlmed" and "tlmed" in flat}
    if {"tlmed_resnet50", "plain_resnet50"} <= flat.keys():
        flat["resnet50_ratio"] = round(flat["tlmed_resnet50"] / flat["plain_resnet50"], 3)
    text = json.dumps(flat, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


def _in_own_process(name: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Images a second and peak memory (MB) of one variant in this process."""
    ways: dict[str, Callable[[], tuple[list[float], dict[str, float]]]] = {
        "tlmed": lambda: _tlmed("vit_small_patch16_224", arguments.device),
        "tlmed_compiled": lambda: _tlmed("vit_small_patch16_224", arguments.device, is_compiled=True),
        "tlmed_resnet50": lambda: _tlmed("resnet50", arguments.device),
        "tlmed_vit_base": lambda: _tlmed("vit_base_patch16_224", arguments.device),
        "ceiling": lambda: _bare("vit_small_patch16_224", is_bf16=True),
        "plain_resnet50": lambda: _bare("resnet50", is_bf16=False),
        "hf_default": lambda: _hugging_face(is_bf16=False),
        "hf_bf16": lambda: _hugging_face(is_bf16=True),
    }
    starts, more = ways[name]()
    seconds = starts[NUM_UNTIMED + NUM_TIMED] - starts[NUM_UNTIMED]
    answer = {"images_per_second": round(NUM_TIMED * BATCH / seconds, 3)}
    answer["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if name == "tlmed_vit_base":
        answer["share_of_matrix_peak"] = round(_flop_a_second(answer["images_per_second"]) / _matrix_peak(), 3)
    return answer | more


def _covid_ct() -> tuple[list[Path], list[int]]:
    from tlmed.data.sources import read_manifest

    table = read_manifest(Path(os.environ["TLMED_DATA"]) / "covid_ct" / "manifest.csv").table
    train = table[table["split"] == "train"]
    return [Path(file) for file in train["file"]], [int(label == "COVID") for label in train["label"]]


def _tlmed(backbone: str, device: str, *, is_compiled: bool = False) -> tuple[list[float], dict[str, float]]:
    import numpy as np
    import torch
    from torch import nn

    from tlmed.data.loaders import Batch, LabelledImages
    from tlmed.data.prepare import prepare_images
    from tlmed.models.backbones import prefers_channels_last
    from tlmed.models.classifier import create_classifier
    from tlmed.recipe.model import BackboneSettings, ImageSettings
    from tlmed.recipe.protocol import RuntimeSettings
    from tlmed.recipe.training import StrategySettings, TrainingSettings
    from tlmed.runtime.device import launch
    from tlmed.runtime.digests import FileDigests
    from tlmed.runtime.hardware import cpu_has_bf16
    from tlmed.runtime.store import Store
    from tlmed.transfer.finetune import Finetune
    from tlmed.transfer.fit import FitTask, fit

    starts: list[float] = []

    class Timed(Finetune):
        def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
            if batch.images.is_cuda:
                torch.cuda.synchronize()
            starts.append(time.perf_counter())
            return super().loss(model, batch)

    with tempfile.TemporaryDirectory() as folder:
        store, image = Store(Path(folder)), ImageSettings(size=SIZE)
        if device == "cpu":
            files, labels = _covid_ct()
            digests = FileDigests(store).of(files)
            prepared = prepare_images(files, digests, image, store)
            pixels, rows = prepared.pixels, np.array([prepared.row_of[digest] for digest in digests])
        else:  # the images' content does not change the speed
            pixels = np.random.default_rng(0).integers(0, 256, (512, 1, SIZE, SIZE), dtype=np.uint8)
            rows, labels = np.arange(512), [0, 1] * 256
        images = LabelledImages(pixels, rows, np.array(labels), [""] * len(rows))
        training = TrainingSettings(epochs=1, batch_size=BATCH, learning_rate=RATE)
        runtime = RuntimeSettings.model_validate(
            {
                "device": device,
                "precision": "bf16" if device == "cuda" or cpu_has_bf16() else "float32",
                "workers": 0 if device == "cpu" else 8,
                "compile": is_compiled,
            }
        )
        classifier = create_classifier(BackboneSettings(name=backbone), image, 2)
        if prefers_channels_last(classifier.backbone):
            classifier.to(memory_format=torch.channels_last)
        task = FitTask("benchmark", training, images, None, 0, Path(folder) / "work")
        result = fit(classifier, Timed(StrategySettings(), training, None), task, runtime, launch(runtime))
    return starts, {"waiting_share": round(result.waiting_seconds / result.seconds, 4)}


def _bare(backbone: str, *, is_bf16: bool) -> tuple[list[float], dict[str, float]]:
    import timm
    import torch

    model = timm.create_model(backbone, num_classes=2, in_chans=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    images, labels = torch.rand(BATCH, 1, SIZE, SIZE), torch.randint(0, 2, (BATCH,))
    starts = []
    for _ in range(NUM_UNTIMED + NUM_TIMED + 1):
        starts.append(time.perf_counter())
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return starts, {}


def _hugging_face(*, is_bf16: bool) -> tuple[list[float], dict[str, float]]:
    import torch
    from PIL import Image
    from torchvision.transforms import v2
    from transformers import Trainer, TrainerCallback, TrainingArguments, ViTConfig, ViTForImageClassification

    files, labels = _covid_ct()
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((SIZE, SIZE)),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    starts: list[float] = []

    class Files(torch.utils.data.Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> dict[str, Any]:
            with Image.open(files[index]) as image:
                return {"pixel_values": transform(image.convert("RGB")), "labels": labels[index]}

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            starts.append(time.perf_counter())

    config = ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, num_labels=2
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=NUM_UNTIMED + NUM_TIMED + 1,
            learning_rate=RATE,
            bf16=is_bf16,
            optim="adamw_torch_fused",
            dataloader_num_workers=0,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
        )
        trainer = Trainer(ViTForImageClassification(config), arguments, train_dataset=Files(), callbacks=[Clock()])
        trainer.train()
    return starts, {}


def _flop_a_second(images_per_second: float) -> float:
    """ViT-B/16 at 224 px: 17.6 G multiply-adds a forward pass (Dosovitskiy et al. 2021), three to train."""
    return images_per_second * 17.6e9 * 2 * 3


def _matrix_peak() -> float:
    import torch

    matrix = torch.ones(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        matrix @ matrix
    torch.cuda.synchronize()
    start, repeats = time.perf_counter(), 20
    for _ in range(repeats):
        matrix @ matrix
    torch.cuda.synchronize()
    return repeats * 2 * 8192**3 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
