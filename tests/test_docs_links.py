"""Links of the Markdown files, as a code host reads them: files and headings exist, addresses have the right form."""

import re
import sys
from urllib.parse import urlsplit

import pytest
from markdown_blocks import ROOT, pages

sys.path.insert(0, str(ROOT / "docs" / "site"))
import build

HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [said for link in build.links(text) if (said := what_is_wrong(page, link))] == []


@pytest.mark.parametrize("page", ["docs/contributing.md", "docs/design.md"])
def test_source_files_that_a_page_names_exist(page):
    named = set(re.findall(r"`([\w/]+\.py)`", (ROOT / page).read_text(encoding="utf-8")))
    assert len(named) > 1
    files = {path.as_posix() for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    assert sorted(name for name in named if not any(file.endswith(f"/{name}") for file in files)) == []


def test_the_site_has_the_pages_that_are_tested():
    assert [str(page) for page in build.pages()] == pages()
    assert len(build.links((ROOT / "README.md").read_text(encoding="utf-8"))) > 10


@pytest.mark.parametrize(
    "link",
    [
        *("docs/nothing.md", "docs/design.md#nothing", "#nothing", "docs", "/docs/design.md", "../elsewhere.md"),
        *("http://example.org/", "https://example", "https:///path", "mailto:someone"),
    ],
)
def test_a_broken_link_is_noticed(link):
    assert what_is_wrong("README.md", link)


@pytest.mark.parametrize("link", ["docs/design.md#what-holds", "#what-it-costs", "https://example.org/a?b#c"])
def test_a_link_that_works_is_none_of_them(link):
    assert what_is_wrong("README.md", link) is None


def what_is_wrong(page: str, link: str) -> str | None:
    """Of a link on a page, in a sentence; None if it is as it should be. The network is not asked."""
    address = urlsplit(link)
    if address.scheme or address.netloc:
        well_formed = address.scheme == "https" and re.fullmatch(r"[\w-]+(\.[\w-]+)+", address.netloc)
        return None if well_formed else f"{link} is no address of the form https://host/path"
    path, _, anchor = link.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    if path.startswith("/") or not file.is_file() or not file.resolve().is_relative_to(ROOT.resolve()):
        return f"{link} leads to no file of the repository"
    if anchor and anchor not in anchors_of(file.read_text(encoding="utf-8")):
        return f"{link} leads to no heading of the file"
    return None


def anchors_of(text: str) -> set[str]:
    """Of its headings, by the rule of code hosts."""
    headings = HEADING.findall(build.FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
