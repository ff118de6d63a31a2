"""The pages of this repository as a site, for Sphinx: ``make site``.

They are read where they are, so that a link leads to the same place here and on GitHub. Every link between them and every
anchor is checked; of a link to elsewhere only the form is, as nothing is asked of a network.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).parents[2]

STORY = {
    "Use it": (
        "docs/telemetry",
        "docs/commands",
        "docs/settings",
        "docs/server",
        "docs/command-line",
        "docs/snapshot",
        "docs/messages",
        "docs/frameworks",
        "docs/processes",
    ),
    "Run it": ("examples/bookshop/README", "collector-config/README", "docs/runbooks/README"),
    "Trust it": (
        "docs/performance",
        "docs/scale",
        "docs/reliability",
        "docs/scenarios",
        "SECURITY",
        "docs/migration",
    ),
    "Change it": ("docs/design", "docs/registry/README", "CONTRIBUTING", "CHANGELOG"),
}
"""What is read after the README, in this order; a page that nobody has written yet is passed over."""

project = "otel-redis-cache"
html_title = project
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "collector-config/README.md", "examples/*/README.md"]
exclude_patterns = [".*", "benchmarks", "build", "dist", "otel_redis_cache", "tests"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
# Its lexer for PromQL knows no colon in a name, which is how recorded ones are called.
suppress_warnings = ["misc.highlighting_failure"]
html_theme = "furo"
html_copy_source = False
templates_path = ["templates"]
html_additional_pages = {"index": "index.html"}

_log = logging.getLogger(__name__)
_HERE = {"localhost", "127.0.0.1"}


def tell_the_story(_app: Sphinx, page: str, source: list[str]) -> None:
    """Put the pages behind the README, and the runbooks behind their list, without a word of it on GitHub."""
    if page == root_doc:
        for chapter, pages in STORY.items():
            written = [each for each in pages if (ROOT / f"{each}.md").exists()]
            source[0] += _contents(f":caption: {chapter}", *written)
    elif page == "docs/runbooks/README":
        source[0] += _contents(":glob:", "*")


def _contents(*lines: str) -> str:
    return "\n".join(["\n\n```{toctree}", ":hidden:", *lines, "```\n"])


def look_at_links_elsewhere(_app: Sphinx, page: nodes.document) -> None:
    """Warn of a link that leads nowhere by its form."""
    for link in page.findall(nodes.reference):
        where = str(link.get("refuri", ""))
        parts = urlsplit(where)
        is_here = parts.hostname in _HERE
        is_elsewhere = parts.scheme == "https" and "." in (parts.hostname or "")
        if parts.scheme and not (is_here or is_elsewhere):
            _log.warning("neither https with a host, nor this machine: %s", where, location=link)


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", tell_the_story)
    app.connect("doctree-read", look_at_links_elsewhere)
