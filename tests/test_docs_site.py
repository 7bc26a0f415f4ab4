"""The site builds strictly, its links and anchors lead somewhere, and it loads nothing from elsewhere."""

import importlib.util
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_blocks import ROOT

sys.path.insert(0, str(ROOT / "docs" / "site"))
import build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("material") is None,
        reason="the site needs MkDocs and its theme, which are not installed: pip install -e '.[docs]'",
    ),
]
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Page(HTMLParser):
    """What a page of the site links to, loads, and can be linked to."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get(LOADED.get(tag, "")):
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of a build: its pages and its site."""
    folder = tmp_path_factory.mktemp("docs")
    build.build(folder / "pages", folder / "site")
    return folder


@pytest.fixture(scope="module")
def site(built) -> dict[Path, Page]:
    files = (built / "site").rglob("*.html")
    return {file: Page(file.read_text(encoding="utf-8")) for file in files if file.name != "404.html"}


def test_every_page_is_built(built, site):
    wanted = {
        page.with_name("index.html" if page.name == "README.md" else f"{page.stem}.html") for page in build.pages()
    }
    assert {file.relative_to(built / "site") for file in site} == wanted


def test_links_and_anchors_lead_somewhere(site):
    broken = []
    for file, page in site.items():
        for link in [*page.links, *page.loaded]:
            address = urlsplit(link)
            if address.scheme or address.netloc or link == ".":
                continue
            target = (file.parent / unquote(address.path)).resolve() if address.path else file
            there = target.is_file() and (
                not address.fragment or target not in site or unquote(address.fragment) in site[target].anchors
            )
            if not there:
                broken.append((file.name, link))
    assert broken == []


def test_no_markup_is_left_in_the_text(site):
    """A list or a table without an empty line before it is text for Markdown, though not for code hosts."""
    for file in site:
        article = re.search(r"<article.*?</article>", file.read_text(encoding="utf-8"), re.DOTALL)[0]
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", article, flags=re.DOTALL)
        assert re.findall(r"^(?:[-*] |\d+\. \w|\||#+ ).*|\*\*.*|.*\]\(.*", text, re.MULTILINE) == [], file


def test_nothing_is_loaded_from_elsewhere(built, site):
    loaded = {link for page in site.values() for link in page.loaded}
    assert len(loaded) > 10
    assert sorted(link for link in loaded if urlsplit(link).scheme not in ("", "data") or urlsplit(link).netloc) == []
    for sheet in (built / "site").rglob("*.css"):
        assert not re.findall(r"(?:@import|url\()[\s\"']*(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_tables_are_fresh_on_the_site(built, monkeypatch, tmp_path):
    monkeypatch.setitem(build.with_tables.__globals__["TABLES"], "reasons", lambda: "made today")
    build.stage(tmp_path)
    assert "made today" in (tmp_path / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")


def test_what_is_broken_ends_the_build(built, tmp_path):
    shutil.copytree(built / "pages", tmp_path / "pages")
    with (tmp_path / "pages" / "docs" / "trl.md").open("a", encoding="utf-8") as page:
        page.write("\n[a](nowhere.md) [b](verl.md#nowhere) [c](../src/nowhere.py)\n")
    (tmp_path / "pages" / "docs" / "lost.md").write_text("# Lost\n")
    with pytest.raises(subprocess.CalledProcessError) as failure:
        build.run(tmp_path / "pages", tmp_path / "site")
    said = failure.value.stderr
    for expected in ("nowhere.md", "verl.md#nowhere", "nowhere.py", "docs/lost.md"):
        assert expected in said, said
