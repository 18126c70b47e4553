"""What must answer without the seconds that importing torch, timm and Fabric take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "timm", "lightning")

RECIPE = """
name: tiny
image: {size: 32}
backbone: test_resnet
chain:
  - name: related
    data: {phantom: {kind: chest-findings, num_images: 48, size: 32}}
    training: {epochs: 1}
  - name: target
    data: {phantom: {kind: chest-target, num_train_patients: 8, num_val_patients: 4, num_test_patients: 8, size: 32}}
    training: {epochs: 1}
evaluation: {positive: viral-pneumonia}
"""


def heavy_modules_after(code: str) -> list[str]:
    """Run code in a fresh process and say which of the heavy packages it imported."""
    report = f"\nimport json, sys\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    ended = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch-free")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    assert heavy_modules_after(run_code(folder)) == list(HEAVY)
    return folder


def run_code(folder: Path) -> str:
    return f"import tlmed; print(tlmed.run({str(folder / 'recipe.yaml')!r}, out={str(folder / 'runs/tiny')!r}).trained)"


def test_importing_the_package() -> None:
    assert heavy_modules_after("import tlmed; tlmed.load_recipe, tlmed.read_manifest, tlmed.run") == []


def test_the_cached_run(finished_run: Path) -> None:
    code = run_code(finished_run).replace("print(", "assert [] == (")
    assert heavy_modules_after(code) == []


def test_the_plan(finished_run: Path, tmp_path: Path) -> None:
    arguments = ["run", str(finished_run / "recipe.yaml"), "--dry-run", "--out", str(tmp_path / "runs/other")]
    assert heavy_modules_after(command(arguments)) == []


def test_the_draft_of_a_recipe(finished_run: Path, tmp_path: Path) -> None:
    data = next((finished_run / "runs/phantoms").glob("*/manifest.csv"))
    assert heavy_modules_after(command(["init", str(data), "--out", str(tmp_path / "recipe.yaml")])) == []
    assert (tmp_path / "recipe.yaml").exists()


def test_the_list_of_backbones(tmp_path: Path) -> None:
    assert heavy_modules_after(command(["weights", "list", "--backbones", "--store", str(tmp_path)])) == []


def test_the_evaluation_of_a_table(tmp_path: Path) -> None:
    rows = [
        f"u{index},p{index // 2},{'ill' if index % 4 < 2 else 'well'},{share},{1 - share}"
        for index, share in enumerate([0.25, 0.75, 0.5, 0.125] * 10)
    ]
    table = tmp_path / "predictions.csv"
    table.write_text("\n".join(["unit,patient,label,p_ill,p_well", *rows]), encoding="utf-8")
    arguments = ["evaluate", str(table), "--positive", "ill", "--threshold", "0.4", "--out", str(tmp_path / "out")]
    assert heavy_modules_after(command(arguments)) == []
    assert (tmp_path / "out/evaluation.html").exists()


def test_the_audit_of_a_table(finished_run: Path, tmp_path: Path) -> None:
    data = next((finished_run / "runs/phantoms").glob("*/manifest.csv"))
    assert heavy_modules_after(command(["audit", str(data), "--out", str(tmp_path / "runs/audit")])) == []
    assert (tmp_path / "runs/audit/audit.html").exists()


def command(arguments: list[str]) -> str:
    return (
        f"import sys; sys.argv = ['tlmed', *{arguments!r}]\nfrom tlmed.cli.app import app\napp(standalone_mode=False)"
    )
