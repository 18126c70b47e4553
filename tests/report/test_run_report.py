from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.report.run_folders import PLACE, WEIGHTS, make_run
from tlmed.report import run_report
from tlmed.report.parts import Chapter, Drawing, Gallery, Grid, Picture, Section, Shot
from tlmed.report.record.run_record import RunRecord, read_run
from tlmed.report.run_report import render_report

LIGHT, DARK = b"\x89PNG light", b"\x89PNG dark"
CHAPTER = Chapter(
    "Results <of all>",
    "results",
    (
        Section("Table", ("5 < 6",), Grid(("name", "test"), (("ill", "3"), ("well", "40")))),
        Picture("roc", "ROC", "a curve", "read it so", LIGHT, DARK),
        Picture("same", "Same", "the same", "once", LIGHT, LIGHT),
        Drawing("flow", "Flow", "boxes", "down", "<svg><title>40 images</title></svg>"),
        Gallery("Errors", "worst first", (Shot(b"\xff\xd8jpeg", "smith-1 seen as well", "smith-1"),)),
    ),
)


class Page(HTMLParser):
    """Tags that are open, headings, anchors and links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.attributes.append((tag, known))
        if known.get("id"):
            self.ids.append(str(known["id"]))
        if tag == "a":
            self.links.append(str(known["href"]))
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag not in ("meta", "img", "source", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    sizes = {"ill": 3, "well": 22}
    return read_run(make_run(tmp_path_factory.mktemp("report") / "run", sizes=sizes, waive=("near_duplicate",)))


@pytest.fixture
def one_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_report, "result_chapters", lambda record: [CHAPTER])
    monkeypatch.setattr(run_report, "sheet_chapters", lambda record: [])


@pytest.mark.usefixtures("one_chapter")
def test_the_page_is_well_formed_and_reachable(record: RunRecord) -> None:
    page = Page(render_report(record))
    assert page.open == []
    assert page.levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in zip(page.levels, page.levels[1:], strict=False))
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "#results" in page.links
    assert all(known.get("alt") for tag, known in page.attributes if tag == "img")
    scrolled = [known for _, known in page.attributes if known.get("class") == "scroll"]
    assert scrolled
    assert all(known["tabindex"] == "0" and known["aria-label"] for known in scrolled)


@pytest.mark.usefixtures("one_chapter")
def test_nothing_is_loaded_from_outside_and_text_is_escaped(record: RunRecord) -> None:
    text = render_report(record)
    page = Page(text)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in text
    assert not any(tag in ("script", "link", "iframe", "object") for tag, _ in page.attributes)
    addresses = [known[name] for _, known in page.attributes for name in ("src", "srcset") if known.get(name)]
    assert addresses
    assert all(str(address).startswith("data:image/") for address in addresses)
    assert "url(" not in text
    assert "Results &lt;of all&gt;" in text
    assert "5 &lt; 6" in text


@pytest.mark.usefixtures("one_chapter")
def test_a_picture_that_is_alike_in_both_forms_is_there_once(record: RunRecord) -> None:
    page = Page(render_report(record))
    assert len([1 for tag, _ in page.attributes if tag == "source"]) == 1
    assert len([1 for tag, _ in page.attributes if tag == "img"]) == 3


@pytest.mark.usefixtures("one_chapter")
def test_page_one_comes_first_and_its_items_are_numbered(record: RunRecord) -> None:
    text = render_report(record)
    first = text[: text.index('id="contents"')]
    assert "Verdict: <span>no verdict</span>" in first
    assert [int(number) for number in re.findall(r'<h2 id="item-\d+">(\d+)\.', first)] == list(range(1, 12))


def test_a_shared_page_tells_neither_who_nor_where(record: RunRecord) -> None:
    text = render_report(record, shared=True)
    assert len(text.encode()) < 5_000_000
    known = {*record.splits["path"], *record.splits["unit"], *record.splits["group"]}
    for name in (*known, str(record.folder), PLACE, WEIGHTS, "hidden-hospital", "-images", "jones", "Brown"):
        assert name not in text, name
    assert "A copy to share" in text
    assert "&lt;5 patients" in text
    told = re.sub(r"<[^>]+>", " ", text)
    assert not re.search(r"(?<![\w.,])[1-4] (patient|image|group|unit)s?\b", told)
    assert "22 patients" not in told


@pytest.mark.usefixtures("one_chapter")
def test_a_shared_page_shows_no_cases(record: RunRecord) -> None:
    text = render_report(record, shared=True)
    assert "smith" not in text
    assert "it shows single cases" in text
    assert '<th scope="row">ill</th><td>&lt;5</td>' in text
    assert "<title>40 images</title>" in text
