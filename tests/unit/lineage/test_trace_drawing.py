"""What a trace looks like: valid whatever names hold, without control characters, and complete."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from trace_repository import NOTES, Repository, experiment, sha256_of

from clew.lineage import drawing, drawing_page, drawing_terminal
from clew.lineage.graph import Graph, Node
from clew.lineage.trace import Trace, trace
from clew.terminal import clean

EVIL = 'a "b" <script>alert(1)</script> `c` | {d} \\ #35; end\x1b[31m\nsubgraph ]'


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return experiment(tmp_path / "repo")


def printed(found: Trace, *, terminal: bool = False) -> str:
    out = io.StringIO()
    drawing_terminal.show(found, Console(file=out, force_terminal=terminal, width=160, highlight=False))
    return out.getvalue()


def made_of(names: list[str]) -> Graph:
    graph = Graph()
    for position, name in enumerate(names):
        kind = ("artifact", "run", "origin", "broken", "source")[position % 5]
        graph.add(Node(f"{position}", kind, name, {"md5": "ab" * 16, "sha256": None, "why": name}))
        if position:
            graph.join(f"{position - 1}", f"{position}", "assumed", name, name)
    graph.roots = ["0"]
    return graph


SIGNS = st.text(st.sampled_from('ab "<>`|{}[]()#;\\\n\x1b&é%-=') | st.characters(), max_size=12)
M_NODE = re.compile(r'  n\d+(\(\[|\[/|\{\{|\[)"((?:[^"#<>`&]|#\d+;|<br/>)*)"(\]\)|/\]|\}\}|\])')
M_EDGE = re.compile(r'  n\d+ -\.?->(\|"(?:[^"#<>`|&]|#\d+;)*"\|)? n\d+')
D_NODE = re.compile(r'  n\d+ \[label="((?:[^"\\\n]|\\.)*)", shape=\w+(, penwidth=3)?\];')
D_EDGE = re.compile(r'  n\d+ -> n\d+ \[label="(?:[^"\\\n]|\\.)*"(, style=dashed)?\];')


@given(names=st.lists(SIGNS, min_size=1, max_size=6))
def test_mermaid_and_dot_are_valid_whatever_names_hold(names: list[str]) -> None:
    graph = made_of(names)
    head, *lines = drawing.mermaid(graph).rstrip("\n").split("\n")
    assert head == "flowchart LR"
    assert all(M_NODE.fullmatch(line) or M_EDGE.fullmatch(line) for line in lines[:-2]), lines
    labels = [match[2].split("<br/>")[0] for line in lines if (match := M_NODE.fullmatch(line))]
    decoded = [re.sub(r"#(\d+);", lambda match: chr(int(match[1])), label) for label in labels]
    assert decoded == [clean(name) or "–" for name in names]
    inner = drawing.dot(graph).rstrip("\n").split("\n")
    assert inner[-1] == "}"
    assert all(D_NODE.fullmatch(line) or D_EDGE.fullmatch(line) for line in inner[3:-1]), inner


@given(text=st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert clean(text).isprintable()


def test_json_holds_everything(repo: Repository) -> None:
    found = json.loads(drawing.as_json(trace(repo.root, "models/aligned/w.bin", "HEAD")))
    assert (found["direction"], found["kind"], found["revision"]["name"]) == ("up", "path", "HEAD")
    assert found["revision"]["commit"] == repo.git("rev-parse", "HEAD")
    assert [root["member"] for root in found["roots"]] == ["w.bin"]
    ids = {node["id"] for node in found["nodes"]}
    assert ids >= {edge[side] for edge in found["edges"] for side in ("from", "to")}
    train = next(node for node in found["nodes"] if node["name"] == "train")
    assert train["params"]["train.rate"] == 0.1
    down = json.loads(drawing.as_json(trace(repo.root, "models/base", down=True)))
    assert (down["direction"], down["heads"]) == ("down", ["main"])
    assert [commit["title"] for commit in down["commits"]] == ["Run it all"]


def test_the_terminal_shows_the_thread_params_code_and_machine(repo: Repository) -> None:
    text = printed(trace(repo.root, "models/aligned"))
    assert re.search(r"models/aligned  .* ← train\n├── data/rows.bin  .* ← prepare\n│   └── data/raw  .* ← fetch", text)
    assert "file://notes/*.csv  sha256 abababababab  MIT" in text
    assert re.search(r"train\s+seed\s+13\n", text)
    assert re.search(r"src/train.py .* Bob +Train slowly", text)
    assert "cpu of train, 4 cores  (train)" in text
    assert "not known: there is no metrics/runtime/prepare.json in work tree  (prepare)" in text
    assert "torch 2.13.0" in text


def test_the_terminal_shows_where_it_went(repo: Repository) -> None:
    text = printed(trace(repo.root, "data/raw/notes/a.csv", down=True))
    assert "Its thread runs through 1 commit on main." in text
    assert re.search(r"Models that it is in \(1\)\nmodels/aligned +\w{8} +1 commit +main\n", text)
    assert "predict@base" not in text
    nothing = printed(trace(repo.root, "metrics/quality.json", down=True))
    assert "Nothing in the history has used this version of it." in nothing


@pytest.mark.parametrize(
    "facts",
    [
        {"hardware": "x", "versions": ["a"], "seconds": "abc", "who": [1], "started": 3, "commit": {}},
        {"hardware": {"memory_bytes": "big", "cores": [1], "cpu": {}}, "seconds": 1e999, "versions": {"a": [None]}},
        {"hardware": [], "versions": 1, "seconds": -1, "extra": float("nan")},
        {"hardware": {"memory_bytes": 10**400}, "seconds": None, "versions": None},
    ],
)
def test_a_hostile_record_is_no_traceback(repo: Repository, facts: dict) -> None:
    repo.record("train", {"models/aligned": sha256_of(repo.read("models/aligned"))}, **facts)
    found = trace(repo.root, "models/aligned")
    assert "it names the SHA-256" in drawing.as_json(found)
    assert "← train" in printed(found)
    assert "train" in drawing_page.render(found)


def test_a_number_that_json_has_not_is_null(repo: Repository) -> None:
    text = '{"base": {"stress": {"f1": {"value": NaN, "low": -Infinity, "n": 3}}}}'
    repo.run("evaluate", ["data/predictions"], {"metrics/quality.json": text}, {"a": float("nan")}, cached=False)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    found = trace(repo.root, "metrics/quality.json:stress.f1@base")
    found.thing.facts["value"] = float("nan")
    told = drawing.as_json(found)
    assert json.loads(told, parse_constant=refuse)["facts"]["value"] is None


def test_an_origin_has_its_address_as_its_name_and_its_source_beside(repo: Repository) -> None:
    nodes = json.loads(drawing.as_json(trace(repo.root, "data/raw/notes/a.csv")))["nodes"]
    [origin] = [node for node in nodes if node["kind"] == "origin"]
    assert (origin["name"], origin["source"]) == ("file://notes/*.csv", "notes")


def test_a_digest_in_params_that_is_a_number_is_drawn(repo: Repository) -> None:
    params = {"fetch": {"sources": {"notes": {"uri": "file://n", "sha256": 12, "license": 3}}}}
    repo.run("fetch", [], {"data/raw": NOTES}, params)
    found = trace(repo.root, "data/raw")
    assert "sha256 12" in printed(found) + drawing_page.render(found)
    assert drawing.mermaid(found.upstream)


def test_a_clock_may_say_anything() -> None:
    assert drawing.day(0) == "1970-01-01"
    assert drawing.day(1 << 62) == ""


class Page(HTMLParser):
    """Tags, the addresses they name, and the text outside of style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(str(value))
            if name == "id":
                self.ids.add(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""


@pytest.mark.parametrize("down", [False, True])
def test_the_page_needs_nothing_else(repo: Repository, down: bool) -> None:
    page = Page(drawing_page.render(trace(repo.root, "models/base" if down else "metrics/quality.json", down=down)))
    assert page.open == []
    assert "script" not in page.tags
    assert {link.lstrip("#") for link in page.links} <= page.ids
    assert all(link.startswith("#") for link in page.links)
    assert "evaluate" in page.text


def test_evil_names_are_harmless_everywhere(repo: Repository) -> None:
    repo.run("train", ["data/rows.bin"], {"models/aligned": {"w.bin": "x"}}, {"train": {EVIL: EVIL}}, record=True)
    repo.record("train", {"models/aligned": "x"}, who=EVIL)
    repo.write("src/train.py", "other")
    repo.commit(EVIL, author="<b>Eve\x1b")
    repo.run("train", ["src/train.py"], {"models/aligned": {"w.bin": "y"}}, {"train": {EVIL: EVIL}})
    found = trace(repo.root, "models/aligned")
    found.thing.asked = EVIL
    html = drawing_page.render(found)
    assert "<script" not in html
    assert "<b>" not in html
    assert "\x1b" not in html + printed(found) + drawing.mermaid(found.upstream) + drawing.dot(found.upstream)
    json.loads(drawing.as_json(found))


def clew(repo: Repository, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clew", "trace", *arguments]
    return subprocess.run(command, cwd=repo.root, capture_output=True, text=True, check=False)


def test_the_command_prints_writes_and_refuses(repo: Repository, tmp_path: Path) -> None:
    assert "← train" in clew(repo, "models/aligned").stdout
    assert json.loads(clew(repo, "models/aligned", "--json").stdout)["asked"] == "models/aligned"
    assert clew(repo, "models/aligned", "--mermaid").stdout.startswith("flowchart LR\n")
    assert clew(repo, "models/aligned", "--dot", "--rev", "main").stdout.startswith("digraph trace {\n")
    assert "Models that it is in (1)" in clew(repo, "models/base", "--down").stdout
    page = tmp_path / "trace.html"
    assert clew(repo, "models/aligned", "--html", str(page)).stdout == f"wrote {page}\n"
    assert page.read_text().startswith("<!doctype html>")
    done = clew(repo, "models/alined")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("clew: error: work tree: there is no models/alined. Did you mean `models/aligned`")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("forms", [("--json", "--dot"), ("--json", "--mermaid"), ("--json", "--mermaid", "--dot")])
def test_two_forms_at_once_are_bad_usage(repo: Repository, forms: tuple[str, ...]) -> None:
    done = clew(repo, "models/aligned", *forms)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_page_that_cannot_be_written_is_one_line(repo: Repository) -> None:
    done = clew(repo, "models/aligned", "--html", "nowhere/x.html")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("clew: error: nowhere/x.html: No such file or directory.")
    assert len(done.stderr.splitlines()) == 1


def test_nothing_heavy_is_imported_for_the_terminal(repo: Repository) -> None:
    code = (
        "import sys; sys.argv = ['clew', 'trace', 'models/aligned']; from clew.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\nprint('modules', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo.root, capture_output=True, text=True, check=True)
    modules = {name.split(".")[0] for name in done.stdout.rpartition("modules ")[2].split()}
    assert "sqlite3" in modules
    assert not modules & {"numpy", "pyarrow", "pandas", "jinja2", "torch", "pydantic", "dvc", "pygit2"}
