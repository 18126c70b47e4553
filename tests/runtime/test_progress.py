from __future__ import annotations

import pytest

from tlmed.runtime import progress


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (45, "45 s"), (98.9, "99 s"), (120, "2 min"), (12_600, "3.5 h")]
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert progress.format_seconds(seconds) == text


def test_lines_tell_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.track("reading", total=100, unit="files") as shown:
        for _ in range(10):
            now[0] += 1.0
            shown.advance(2)
        assert capsys.readouterr().err == "reading: 4/100 files, 2.0 a second, 48 s left\n"  # after 2 s, then rarely
        now[0] += 15.0
        shown.describe("loss 0.5")
        shown.advance(0)
    assert capsys.readouterr().err == "reading: 20/100 files, 0.8 a second, 2 min left (loss 0.5)\n"


def test_resumed_work_counts_only_its_own_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.track("training", total=100, unit="steps", done=80) as shown:
        now[0] = 5.0
        shown.advance(10)
    assert capsys.readouterr().err == "training: 90/100 steps, 2.0 a second, 5 s left\n"
