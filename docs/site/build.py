"""Build the documentation site: `python docs/site/build.py`, or `make docs`.

repository -> pages with fresh tables, and the files that they link to -> build/pages -> MkDocs -> build/site

The pages keep their places, so that a link means the same in the repository and on the site.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from reference import with_tables

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("mkdocs.yml")
PAGES = ("*.md", "docs/**/*.md", "recipes/*.md", "benchmarks/*.md")
LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    """The Markdown files of the site, as paths in the repository."""
    return sorted(path.relative_to(ROOT) for pattern in PAGES for path in ROOT.glob(pattern))


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures, outside of code."""
    return LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", text)))


def stage(folder: Path) -> None:
    """Copy the pages, with fresh tables, and every file that one of them links to."""
    for page in pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        _write(folder / page, with_tables(text).encode())
        for file in _linked(page, text):
            _write(folder / file, (ROOT / file).read_bytes())
    for sheet in yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["extra_css"]:
        _write(folder / sheet, (ROOT / sheet).read_bytes())


def build(pages_folder: Path, site: Path) -> None:
    """Stage the pages and make the site of them.

    Raises:
        CalledProcessError: if MkDocs warns of anything.
    """
    shutil.rmtree(pages_folder, ignore_errors=True)
    stage(pages_folder)
    run(pages_folder, site)


def run(pages_folder: Path, site: Path) -> None:
    """MkDocs, strictly: a broken link, a broken anchor or a page that is not in the navigation ends it.

    Raises:
        CalledProcessError: if so, with what MkDocs says in `stderr`. (Under --quiet it would count no warning.)
    """
    config = pages_folder.with_name("mkdocs.yml")
    places = f"docs_dir: {pages_folder.resolve()}\nsite_dir: {site.resolve()}\n"
    config.write_text(CONFIG.read_text(encoding="utf-8") + places, encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # about the theme's end, for which see mkdocs.yml
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True, env=environment)


def _linked(page: Path, text: str) -> Iterator[Path]:
    for target in links(text):
        path = target.partition("#")[0]
        if not path or "://" in path or path.endswith(".md"):
            continue
        file = (ROOT / page.parent / path).resolve()
        if file.is_file():  # else MkDocs says which page has a broken link
            yield file.relative_to(ROOT)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="Folder for pages and site. Default: build.")
    out = parser.parse_args().out
    try:
        build(out / "pages", out / "site")
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr)
    print(out / "site" / "index.html")
