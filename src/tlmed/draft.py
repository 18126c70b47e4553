"""From a look at somebody's images to a commented recipe that fits them and this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open

from tlmed.data.manifest import Manifest
from tlmed.data.sources import read_manifest
from tlmed.errors import InputError
from tlmed.runtime.hardware import cuda_capability

_NUM_SAMPLED = 48
_NUM_FOLDS = 5
_SIZES = (64, 112, 224)
_NEGATIVE_NAMES = re.compile(
    r"^(no[-_ ]|non[-_ ]?|not[-_ ]|none$|normal|healthy|well$|negative|neg$|control|benign|other|absent|0$)",
    re.IGNORECASE,
)
_ID_PATTERNS = (
    r"((?:patient|pat|subject|subj|sub|case|person)[-_ ]?\d+)",
    r"((?:^|(?<=/))(?:p|s|id)[-_]?\d{2,})",
    r"([^/]+?)[-_ ](?:slice|img|image|im|view|frame)?[-_ ]?\d+\.[A-Za-z]+$",
)
_VIT_WIDTHS = {192: "vit_tiny_patch16_224", 384: "vit_small_patch16_224", 768: "vit_base_patch16_224"}
_DEFAULT_BACKBONE = "resnet18"


@dataclass(frozen=True)
class IdPattern:
    """A regular expression whose first bracket may be a patient's id in the file names.

    Attributes:
        matches_all: whether every path has one; else the run could not group by it as it is.
    """

    regex: str
    num_groups: int
    example: str
    matches_all: bool


def draft_recipe(data: Path, *, related: Path | None, generic: str | None, name: str, file_name: str) -> str:
    """Return a recipe as commented YAML.

    Args:
        data: the target's table or folder.
        related: the target-related domain's.
        generic: starting weights, as a file or as recipes write them.
        name: of the recipe.
        file_name: where it will be written, for its comments.

    Raises:
        InputError: data without labels or images that cannot be read.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    target = read_manifest(data)
    if len(target.classes) < 2:
        raise InputError(
            f"{data}: found {len(target.classes)} classes; a classifier needs two or more (a `label` "
            "column or class folders)."
        )
    weights = _weights_spec(generic)
    size, mode, image_comment = _image_form(target)
    positive, positive_comment = _positive(target.classes)
    has_split = {"train", "test"} <= set(target.table["split"].dropna())
    backbone, backbone_comment = _backbone(weights)
    paths, labels = target.table["path"].tolist(), target.table["label"].tolist()
    pattern = find_id_pattern(paths, labels) if target.group_column is None else None
    environment = Environment(
        loader=PackageLoader("tlmed.recipe", "builtin"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("draft.yaml.j2").render(
        name=name,
        file_name=file_name,
        size=size,
        mode=mode,
        image_comment=image_comment,
        backbone=backbone,
        backbone_comment=backbone_comment,
        weights=weights,
        classes=target.classes,
        related=_domain(related, read_manifest(related)) if related is not None else None,
        target=_domain(data, target),
        pattern=pattern,
        positive=positive,
        positive_comment=positive_comment,
        group=target.group_column,
        has_split=has_split,
        num_folds=_num_folds(target, pattern),
    )


def find_id_pattern(paths: Sequence[str], labels: Sequence[str]) -> IdPattern | None:
    """Look for what may be a patient's id in file names: it must match nearly all, repeat, and not be the label."""
    for regex in _ID_PATTERNS:
        found = [re.search(regex, path, re.IGNORECASE) for path in paths]
        ids = {match.group(1) for match in found if match}
        pairs = {(match.group(1), label) for match, label in zip(found, labels, strict=True) if match}
        if len(pairs) == len(ids) <= len(set(labels)):
            continue  # one id a class, such as covid_1.png and normal_1.png
        if sum(match is not None for match in found) >= 0.95 * len(paths) and 2 <= len(ids) <= 0.8 * len(paths):
            example = next(f"{path} -> {match.group(1)}" for path, match in zip(paths, found, strict=True) if match)
            return IdPattern(regex, len(ids), example, all(found))
    return None


def _domain(path: Path, manifest: Manifest) -> dict[str, Any]:
    num_train = int((~manifest.table["split"].isin(["val", "test"])).sum())
    epochs = 20 if num_train <= 5000 else 10
    batch_size = 8 if num_train < 100 else 16 if num_train <= 5000 else 32
    counts = ", ".join(
        f"{count} {label}" for label, count in manifest.table["label"].value_counts().sort_index().head(12).items()
    )
    return {
        "key": "folder" if path.is_dir() else "manifest",
        "path": str(path.resolve()),
        "epochs": epochs,
        "batch_size": batch_size,
        "summary": f"{len(manifest.table)} images: {counts}"
        if counts
        else f"{len(manifest.table)} images without labels",
    }


def _num_folds(manifest: Manifest, pattern: IdPattern | None) -> int:
    """Five, or as many as the rarest class has groups."""
    table = manifest.table
    if pattern is not None and pattern.matches_all:
        table = table.assign(group=table["path"].str.extract(pattern.regex, flags=re.IGNORECASE)[0])
    return max(2, min(_NUM_FOLDS, int(table.groupby("label")["group"].nunique().min())))


def _image_form(manifest: Manifest) -> tuple[int, str, str]:
    """Choose size and mode from an even sample of the images and from what the machine can compute."""
    files = manifest.table["file"].tolist()
    sample = [files[position] for position in np.linspace(0, len(files) - 1, min(_NUM_SAMPLED, len(files))).astype(int)]
    edges, is_colour = [], False
    for file in sample:
        try:
            with Image.open(file) as image:
                edges.append(min(image.size))
                if image.mode not in ("1", "L", "LA", "I", "F", "I;16"):
                    small = np.asarray(image.convert("RGB").resize((32, 32)), dtype=np.int16)
                    is_colour = is_colour or int((small.max(axis=2) - small.min(axis=2)).max()) > 24
        except OSError as error:
            raise InputError(f"{file}: cannot be read as an image ({error}); replace or remove it.") from error
    edge = int(np.median(edges))
    largest = 224 if cuda_capability() is not None else 112
    size = max((choice for choice in _SIZES if choice <= min(edge, largest)), default=_SIZES[0])
    mode = "rgb" if is_colour else "grey"
    why = "a GPU is here" if largest == 224 else "no GPU is here, and more pixels take time in proportion"
    colour = "in colour" if is_colour else "grey"
    comment = f"{len(sample)} images looked at: shorter edge {min(edges)} to {max(edges)} px, {colour}; {why}."
    return size, mode, comment


def _positive(classes: Sequence[str]) -> tuple[str | None, str]:
    if len(classes) != 2:
        return None, ""
    candidates = [name for name in classes if not _NEGATIVE_NAMES.match(name)]
    if len(candidates) == 1:
        return candidates[0], "the class that counts as disease, guessed from its name: please check"
    return classes[1], "the class that counts as disease: a guess, please check"


def _weights_spec(generic: str | None) -> str | None:
    if generic is None or generic == "none" or generic.partition(":")[0] in ("file", "stage", "bundle", "hub"):
        return None if generic == "none" else generic
    if not Path(generic).exists():
        raise InputError(
            f"--generic {generic}: no such file; name a .safetensors or .pth file, or hub:ID, stage:NAME, bundle:PATH."
        )
    kind = "bundle" if Path(generic).is_dir() else "file"
    return f"{kind}:{Path(generic).resolve()}"


def _backbone(weights: str | None) -> tuple[str, str]:
    """Tell the network from the names and shapes in a safetensors file, where that is possible."""
    if weights is None:
        return _DEFAULT_BACKBONE, "A small network that also trains without starting weights."
    path = Path(weights.partition(":")[2])
    shapes = _safetensors_shapes(path) if path.suffix == ".safetensors" else {}
    patches = shapes.get("patch_embed.proj.weight") or shapes.get("backbone.patch_embed.proj.weight")
    if patches is not None and patches[0] in _VIT_WIDTHS:
        name, patch_size = _VIT_WIDTHS[patches[0]], patches[-1]
        text = name if patch_size == 16 else f"{{name: {name}, patch_size: {patch_size}}}"
        return text, "The network that the starting weights belong to, told from their shapes."
    return _DEFAULT_BACKBONE, "Please name the network that the starting weights belong to (any timm name)."


def _safetensors_shapes(path: Path) -> dict[str, list[int]]:
    try:
        with safe_open(path, framework="np") as opened:
            return {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"--generic {path}: not a file of safetensors ({error}); copy it again.") from error
