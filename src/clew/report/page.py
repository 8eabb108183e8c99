"""The page: every section of SECTIONS in one self-contained HTML file, without scripts or anything fetched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.report import words
from clew.report.contents import SECTIONS
from clew.report.experiment import Experiment

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Characters that HTML cannot hold or that only hide: shown as a replacement character."""


def environment() -> jinja2.Environment:
    """Templates with everything escaped; a name that is not there is an error."""
    import jinja2

    found = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["count"] = lambda n: words.number(n, "count")
    found.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    found.filters["quoted"] = words.quoted
    return found


def render(experiment: Experiment) -> str:
    """The page as HTML: a function of the experiment alone."""
    env = environment()
    sections = [
        {"name": section.name, "title": section.title, "html": _markup(env, section.name, built)}
        for section in SECTIONS
        if (built := section.build(experiment)) is not None
    ]
    return write(env, "page.html", {"title": experiment.params["report"]["title"], "sections": sections})


def write(env: jinja2.Environment, template: str, values: Mapping[str, Any]) -> str:
    """A template's whole text, with its control characters replaced."""
    return env.get_template(template).render(values).translate(CONTROLS).rstrip("\n") + "\n"


def _markup(env: jinja2.Environment, name: str, values: Mapping[str, Any]) -> Any:
    """A section, escaped by its own template, as text that the page must not escape again."""
    import markupsafe

    return markupsafe.Markup(env.get_template(f"{name}.html").render(values))  # noqa: S704 - escaped when rendered
