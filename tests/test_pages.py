"""The pages name what exists: links lead somewhere, paths, modules, options and commands are there,
every room is on the map, and text lines have at most 100 columns.
"""

import re
from pathlib import Path

import pytest
import typer

from cluster.command_line.cli import app
from cluster.config.printing import render_options

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for top in (".", "benchmarks", "gateways", "tests")
    for path in ((ROOT / top).glob("*.md") if top == "." else (ROOT / top).rglob("*.md"))
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:engine|actors|gateways|cluster|benchmarks|tests)/[\w/.]*)`")
MODULE = re.compile(r"python -m ((?:gateways|benchmarks|tests|cluster)[\w.]*\w)")
COLUMNS_MAX = 100
OPTIONS = {
    line.partition(" = ")[0] for line in render_options().splitlines() if not line.startswith(" ")
}
GROUPS = "|".join(sorted({name.partition(".")[0] for name in OPTIONS}))
SUBJECT = re.compile(r"marks\.(<\w+>|market_data)")
"""Looks like an option, but is a subject."""
OPTION = re.compile(rf"`((?:{GROUPS})\.[\w.<>]+)(?: = [^`]+)?`")
GROUP = re.compile(rf"(?:{GROUPS})\.(?:py|json|<name>)")
COMMAND = re.compile(r"`lockstep ([a-z-]+)")


def anchors(page: str) -> set[str]:
    """Return a page's headings as links write them."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]
    return set(plain)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in LINK.findall(FENCE.sub("", path.read_text())):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path if not name else (path.parent / name).resolve()
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{link} has no such heading"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_and_module_that_a_page_names_exists(path: Path) -> None:
    # The changelog names what is gone.
    text = path.read_text() if path.name != "CHANGELOG.md" else ""
    for name in PATH.findall(text):
        assert (ROOT / name).exists(), f"{name} does not exist"
    for name in MODULE.findall(text):
        module = ROOT / name.replace(".", "/")
        exists = module.with_suffix(".py").exists() or (module / "__main__.py").exists()
        assert exists, f"{name} cannot be started"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_and_command_that_a_page_names_exists(path: Path) -> None:
    commands = {str(name) for name in typer.main.get_group(app).commands}
    text = path.read_text() if path.name != "CHANGELOG.md" else ""
    named = {
        name
        for name in OPTION.findall(text)
        if not GROUP.fullmatch(name) and not SUBJECT.fullmatch(name)
    }
    assert named <= OPTIONS
    assert set(COMMAND.findall(text)) <= commands


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_has_at_most_a_hundred_columns(path: Path) -> None:
    for line in FENCE.sub("", path.read_text()).splitlines():
        is_text = not line.startswith(("|", "#")) and " " in line.strip()
        assert len(line) <= COLUMNS_MAX or not is_text, line


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = {
        path.parent.name
        for layer in ("engine", "actors", "gateways", "cluster", "benchmarks")
        for path in (ROOT / layer).glob("*/__init__.py")
    }
    assert not {room for room in rooms if f"`{room}`" not in text}


def test_an_anchor_is_named_as_a_link_names_it() -> None:
    page = "# A page\n\n## 3. The journal's own delivery: `x`\n\n```\n# no heading\n```\n"
    assert anchors(page) == {"a-page", "3-the-journals-own-delivery-x"}
