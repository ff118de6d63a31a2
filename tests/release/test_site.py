"""The site out of the documentation: it is whole, and asks nobody for anything; what is broken in it is told."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[2]
PARTS = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("docs", "collector-config", "examples"),
)

FAULTS = {
    "a file that is not there": ("[x](docs/nowhere.md)", "not found: 'docs/nowhere.md'"),
    "a directory that is not there": ("[x](nowhere/)", "not found: 'nowhere/'"),
    "an anchor of another page": (
        "[x](docs/snapshot.md#nowhere)",
        "local id not found in doc 'docs/snapshot': 'nowhere'",
    ),
    "an anchor of this page": ("[x](#nowhere)", "not found: 'nowhere'"),
    "a picture": ("![x](docs/nowhere.png)", "not readable: docs/nowhere.png"),
    "a link without a host": ("[x](https:///page)", "nor this machine: https:///page"),
    "a link that anybody can read": ("[x](http://example.com/)", "http://example.com/"),
}


def build(source: Path, site: Path, builder: str) -> subprocess.CompletedProcess[str]:
    """As `make site` does, but that it goes on to the last fault."""
    options = ("--fresh-env", "--fail-on-warning", "--keep-going", "--quiet", "--builder", builder)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            *options,
            "--conf-dir",
            source / "docs/site",
            source,
            site,
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    done = build(ROOT, site, "html")
    assert (done.stderr, done.returncode) == ("", 0)
    return site


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of the same pages with every fault planted in the README, and a page that nobody leads to."""
    source = tmp_path_factory.mktemp("source")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    with (source / "README.md").open("a", encoding="utf-8") as readme:
        readme.writelines(f"\n{fault}\n" for fault, _ in FAULTS.values())
    (source / "docs/lost.md").write_text("# Lost\n", encoding="utf-8")
    done = build(source, source / "build", "dummy")
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_link_is_told(broken: str, fault: str) -> None:
    _, said = FAULTS[fault]
    assert re.search(rf"README\.md(:\d+)?: WARNING: .*{re.escape(said)}", broken), broken


def test_a_page_that_nothing_leads_to_is_told(broken: str) -> None:
    assert "docs/lost.md: WARNING: document isn't included in any toctree" in broken


def test_nothing_else_is_told(broken: str) -> None:
    assert broken.count("WARNING") == len(FAULTS) + 1


def test_pages_ask_nobody_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    fetched = {
        str(element[attribute])
        for page in pages
        for element in BeautifulSoup(page.read_text("utf-8"), "html.parser").find_all(
            ["audio", "iframe", "img", "link", "object", "script", "source", "video"]
        )
        for attribute in ("src", "href", "data")
        if element.has_attr(attribute)
    }
    styles = "\n".join(style.read_text("utf-8") for style in site.rglob("*.css"))
    fetched |= set(re.findall(r"(?:@import\s*|url\()\s*[\"']?([^\"')]+)", styles))

    assert len(pages) > 30
    assert len(fetched) > 10
    assert [where for where in fetched if re.match(r"(\w+:)?//", where)] == []


def test_it_begins_with_the_two_commands_of_the_readme_and_goes_on_as_a_story(site: Path) -> None:
    readme = BeautifulSoup((site / "README.html").read_text("utf-8"), "html.parser")
    first = readme.select_one("article pre")
    chapters = [caption.get_text() for caption in readme.select(".sidebar-tree .caption")]
    pages = [str(link["href"]) for link in readme.select(".sidebar-tree a.reference.internal")]
    told = [
        *("docs/telemetry", "docs/settings", "docs/server", "docs/command-line", "docs/snapshot"),
        *("docs/frameworks", "collector-config/README", "docs/runbooks/README"),
        *("docs/runbooks/CacheStampedes", "docs/performance", "docs/scale", "docs/migration"),
        *("docs/design", "CONTRIBUTING", "CHANGELOG"),
    ]

    assert 'url=README.html"' in (site / "index.html").read_text("utf-8")
    assert first is not None
    assert first.get_text().startswith("make demo ")
    assert chapters == ["Use it", "Run it", "Trust it", "Change it"]
    assert [page for page in pages if page.removesuffix(".html") in told] == [
        f"{page}.html" for page in told
    ]


def test_a_file_that_a_page_links_to_is_in_the_site(site: Path) -> None:
    runbooks = BeautifulSoup((site / "docs/runbooks/README.html").read_text("utf-8"), "html.parser")
    (link,) = (str(a["href"]) for a in runbooks.select("a.download"))
    shipped = ROOT / "collector-config/prometheus/alerts.yaml"

    assert (site / "docs/runbooks" / link).read_bytes() == shipped.read_bytes()
