"""A hub's files come through huggingface_hub's own code, from a small hub on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import Quiet

COMMIT = "7e27bd9f95328f0f3b08261d1252705110c806f8"
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "modeling.py": b"code",
    "README.md": b"# card",
}
DATA = {"data/train-0.parquet": b"t", "data/test-0.parquet": b"e", "loader.py": b"code"}
REPOSITORIES = {"models": {"me/model": MODEL}, "datasets": {"me/posts": DATA}}
SCRIPT = """
import json, sys
from pathlib import Path
from clew import params, sources
from clew.errors import SourceError
for number, (uri, sha256) in enumerate(json.loads(sys.argv[1])):
    into = Path(f"into-{number}")
    into.mkdir(exist_ok=True)
    try:
        sources.fetch(params.Source(uri=uri, sha256=sha256, license="MIT"), into, "here")
        files = [path for path in sorted(into.rglob("*")) if path.is_file()]
        print(json.dumps({path.relative_to(into).as_posix(): path.read_text() for path in files}))
    except SourceError as error:
        print(json.dumps(str(error)))
"""


class Hub(Quiet):
    """The endpoints that snapshot_download asks, as huggingface.co answers them."""

    asked: list[str]

    answer: bytes | None = None
    """What it answers to everything, where it is no hub."""

    def do_HEAD(self) -> None:  # noqa: N802
        self.do_GET()

    def do_GET(self) -> None:  # noqa: N802
        type(self).asked.append(f"{self.command} {self.path}")
        if self.answer is not None:
            self._answer(200, self.answer, {})
            return
        parts = unquote(self.path.split("?")[0]).strip("/").split("/")
        if parts[0] == "api":
            _, kind, owner, name, what, *_ = parts
            self._api(REPOSITORIES[kind].get(f"{owner}/{name}"), what, unquote(self.path.split("/")[6].split("?")[0]))
            return
        kind, parts = ("datasets", parts[1:]) if parts[0] == "datasets" else ("models", parts)
        owner, name, _, _, *path = parts
        content = REPOSITORIES[kind][f"{owner}/{name}"]["/".join(path)]
        self._answer(200, content, {"ETag": f'"{blob_name(content)}"', "X-Repo-Commit": COMMIT})

    def _api(self, files: dict[str, bytes] | None, what: str, revision: str) -> None:
        if files is None:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        elif revision not in ("main", COMMIT, "refs/pr/1"):
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev"})
        elif what == "revision":
            siblings = [{"rfilename": name} for name in files]
            self._answer(200, json.dumps({"id": "x", "sha": COMMIT, "siblings": siblings}).encode(), {})
        else:
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": blob_name(content)}
                for name, content in files.items()
            ]
            self._answer(200, json.dumps(tree).encode(), {})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def blob_name(content: bytes) -> str:
    """git's name for a file's content, which a hub gives as its ETag."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def digest(files: dict[str, bytes]) -> str:
    """What params.yaml declares for these files."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if len(files) == 1:
        return next(iter(digests.values()))
    listing = "".join(f"{digests[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(listing.encode()).hexdigest()


@pytest.fixture
def hub(serve) -> ThreadingHTTPServer:
    Hub.asked, Hub.answer = [], None
    return serve(Hub)


@pytest.fixture
def fetch(hub, tmp_path):
    """fetch((uri, sha256), …): for each the files by name, or the error; in a process that reads $HF_ENDPOINT."""

    def go(*wanted: tuple[str, str], **env: str) -> list[dict[str, str] | str]:
        own = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(tmp_path / "hf")}
        own |= {"CLEW_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        work = Path(tmp_path / f"work-{len(list(tmp_path.iterdir()))}")
        work.mkdir()
        command = [sys.executable, "-c", SCRIPT, json.dumps(wanted)]
        done = subprocess.run(
            command, cwd=work, env=os.environ | own | env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return go


SAFE = {name: MODEL[name] for name in ("config.json", "model.safetensors", "tokenizer.json")}


def text(files: dict[str, bytes]) -> dict[str, str]:
    return {name: content.decode() for name, content in files.items()}


def test_models_and_data_sets_without_pickles_and_code(fetch):
    got = fetch(
        ("hf://me/model@main", digest(SAFE)),
        ("hf://models/me/model@refs%2Fpr%2F1/config.json", digest({"": MODEL["config.json"]})),
        (f"hf://datasets/me/posts@{COMMIT}/data/*", digest({"test-0.parquet": b"e", "train-0.parquet": b"t"})),
        (f"hf://datasets/me/posts@{COMMIT}/**/test-*.parquet", digest({"": b"e"})),
    )
    assert got == [
        text(SAFE),
        {"config.json": MODEL["config.json"].decode()},
        {"test-0.parquet": "e", "train-0.parquet": "t"},
        {"test-0.parquet": "e"},
    ]
    asked = "\n".join(Hub.asked)
    assert "model.safetensors" in asked
    for unsafe in ("pytorch_model.bin", "modeling.py", "loader.py"):
        assert unsafe not in asked


def test_what_the_hub_kept_needs_no_network_and_is_mended_where_it_rotted(fetch, hub, tmp_path):
    wanted = ("hf://me/model@main", digest(SAFE))
    assert fetch(wanted) == [text(SAFE)]
    blob = next(tmp_path.glob("hf/hub/models--me--model/snapshots/*/model.safetensors")).resolve()
    blob.write_bytes(b"rotten!")
    assert fetch(wanted) == [text(SAFE)]
    assert fetch(wanted, HF_HUB_OFFLINE="1") == [text(SAFE)]
    hub.shutdown()
    hub.server_close()
    assert fetch(wanted) == [text(SAFE)]


def test_what_a_hub_cannot_give_is_told_in_one_line(fetch):
    errors = fetch(
        ("hf://me/nobody@main", "0" * 64),
        ("hf://me/model@v9", "0" * 64),
        ("hf://me/model@main/tokenizer.model", "0" * 64),
        ("hf://me/model@main/pytorch_model.bin", "0" * 64),
        ("hf://me/model@main", "0" * 64),
    )
    for error, words in zip(
        errors,
        [
            "here: me/nobody at main cannot be fetched (404",
            "here: me/model at v9 cannot be fetched (404",
            "here: me/model has no file `tokenizer.model`. Nearest: `tokenizer.json`",
            "here: `pytorch_model.bin` may hold code or pickles. Only these come from a hub: .safetensors",
            f"here: hf://me/model@main has the SHA-256 {digest(SAFE)}, not {'0' * 64} as declared",
        ],
        strict=True,
    ):
        assert error.startswith(words)
        assert "\n" not in error


def test_pickles_that_another_program_left_in_the_hubs_cache_do_not_come(fetch, tmp_path):
    wanted = ("hf://me/model@main", digest(SAFE))
    assert fetch(wanted) == [text(SAFE)]
    snapshot = next(tmp_path.glob("hf/hub/models--me--model/snapshots/*"))
    for name in ("pytorch_model.bin", "modeling.py"):
        (snapshot / name).write_bytes(MODEL[name])
    assert fetch(wanted, ("hf://me/model@main/*", digest(SAFE))) == [text(SAFE)] * 2


@pytest.mark.parametrize(
    "answer",
    [
        b"<!DOCTYPE html>\n<title>Log in to this network</title>",
        b"[]",
        b"{}",
        b"",
        b"null",
        json.dumps({"id": "x", "sha": COMMIT, "siblings": [{"rfilename": "../../evil.json"}]}).encode(),
        json.dumps({"id": "x", "sha": COMMIT, "siblings": [{"rfilename": 1}]}).encode(),
        json.dumps({"id": "x", "sha": "../../..", "siblings": [{"rfilename": "a.json"}]}).encode(),
    ],
)
def test_what_answers_is_no_hub(answer, fetch, hub, tmp_path):
    Hub.answer = answer
    before = set(tmp_path.rglob("*.json"))
    for error in fetch(("hf://me/model@main", "0" * 64), ("hf://me/model@ma%0Ain/*.json", "0" * 64)):
        assert error.startswith("here: me/model at ma")
        assert " cannot be fetched (" in error
        assert "\n" not in error
    assert set(tmp_path.rglob("*.json")) == before


def test_a_hub_that_is_not_reached(fetch):
    (error,) = fetch(("hf://me/model@main", "0" * 64), HF_ENDPOINT="http://127.0.0.1:9")
    assert error.startswith("here: me/model at main cannot be fetched (")
    assert "refused" in error
