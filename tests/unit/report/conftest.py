"""One experiment for all tests of the report: written once, read once, changed with dataclasses.replace."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew import params
from clew.report import experiment
from clew.report.experiment import Experiment
from examples import experiment as example


@pytest.fixture(scope="session")
def declared() -> params.Params:
    """The params of the example."""
    return example.declared()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, declared: params.Params) -> Path:
    """A folder with everything that the report stage reads."""
    where = tmp_path_factory.mktemp("experiment")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        example.write(declared)
    return where


@pytest.fixture(scope="session")
def run(folder: Path, declared: params.Params) -> Experiment:
    """The example as the report sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return experiment.read(example.sections(declared))
