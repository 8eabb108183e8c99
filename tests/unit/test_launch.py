"""What is launched in several processes: the configurations, what this machine says over them, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from clew import launch, params, params_checks, paths
from clew.errors import ModelError, ParamsError, SetupError
from clew.training import processes
from clew.training.processes import Launch
from examples import ranks, tiny_model
from examples.experiment import PARAMS

LORA = {**tiny_model.LORA, "dropout": 0.0, "target_modules": ["q_proj"]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the repository's configurations."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("CLEW_M") or name == "CLEW_PROCESSES":
            monkeypatch.delenv(name)
    ranks.configs(tmp_path)
    return tmp_path


def test_the_configurations_are_what_they_are_named(here: Path) -> None:
    found = {path.stem: launch.read(path.stem)[0] for path in paths.CONFIGS.glob("*.yaml")}
    assert found == {
        "one_gpu": Launch("one_gpu", 1, 1, "none", cpu=False),
        "ddp": Launch("ddp", 8, 1, "ddp", cpu=False),
        "ddp_cpu": Launch("ddp_cpu", 2, 1, "ddp", cpu=True),
        "fsdp": Launch("fsdp", 8, 1, "fsdp", cpu=False),
        "zero3": Launch("zero3", 8, 1, "zero3", cpu=False),
    }


@pytest.mark.parametrize("name", ["one_gpu", "ddp", "ddp_cpu", "fsdp", "zero3"])
def test_accelerate_knows_every_key_of_the_configurations(here: Path, name: str) -> None:
    """accelerate's own loader refuses unknown keys; what it makes of FSDP's and DeepSpeed's are options of its own."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(paths.CONFIGS / f"{name}.yaml"))
    options = {action.dest for action in launch_command_parser()._actions}
    assert set(config.fsdp_config) | set(config.deepspeed_config) <= options
    assert config.mixed_precision in ("no", None)
    if name == "zero3":  # accelerate refuses these beside the file
        assert set(config.deepspeed_config) == {
            "deepspeed_config_file",
            "deepspeed_multinode_launcher",
            "zero3_init_flag",
        }
        assert config.mixed_precision is None
        assert Path(config.deepspeed_config["deepspeed_config_file"]).exists()


def test_the_machine_stands_over_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {
        "CLEW_PROCESSES": "16",
        "CLEW_MACHINES": "2",
        "CLEW_MACHINE_RANK": "1",
        "CLEW_MAIN_ADDRESS": "10.0.0.7",
        "CLEW_MAIN_PORT": "29400",
    }.items():
        monkeypatch.setenv(variable, value)
    asked, place = launch.read("ddp")
    assert (asked, place) == (Launch("ddp", 16, 2, "ddp", cpu=False), launch.Place(1, "10.0.0.7", 29400))
    command = " ".join(launch._command("sft", asked, place))
    assert command.endswith(
        "-m clew.launcher --config_file configs/ddp.yaml --num_processes 16 --num_machines 2 --machine_rank 1"
        " --main_process_ip 10.0.0.7 --main_process_port 29400 --module clew.rank sft"
    )


@pytest.mark.parametrize(
    ("text", "variables", "said"),
    [
        (None, {}, r"there is no configs/mine.yaml. There are: ddp, ddp_cpu, fsdp, one_gpu, zero3"),
        ("a: [", {}, "configs/mine.yaml is no YAML"),
        ("distributed_type: TPU", {}, "has no distributed_type among NO, MULTI_GPU, FSDP, DEEPSPEED"),
        ("distributed_type: MULTI_GPU\nmixed_precision: bf16", {}, 'must have mixed_precision: "no", or none: the'),
        (
            'distributed_type: MULTI_GPU\nmixed_precision: "no"',
            {},
            "num_processes: `None` is no whole number",
        ),
        (
            'distributed_type: MULTI_GPU\nmixed_precision: "no"\nnum_processes: 1',
            {},
            "asks for 1 process of type MULTI",
        ),
        ('distributed_type: "NO"\nmixed_precision: "no"\nnum_processes: 2', {}, "asks for 2 processes of type NO"),
        (
            'distributed_type: FSDP\nmixed_precision: "no"\nnum_processes: 8',
            {"CLEW_MACHINES": "3"},
            "asks for 8 processes on 3 machines: not as many on each",
        ),
        (
            'distributed_type: FSDP\nmixed_precision: "no"\nnum_processes: 8',
            {"CLEW_MACHINES": "2"},
            "asks for 2 machines: set CLEW_MAIN_ADDRESS, and CLEW_MACHINE_RANK to 0 to 1",
        ),
        (
            'distributed_type: FSDP\nmixed_precision: "no"\nnum_processes: 8',
            {"CLEW_PROCESSES": "many"},
            "CLEW_PROCESSES: `many` is no whole number of 1 or more",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, variables: dict[str, str], said: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    if text is not None:
        (paths.CONFIGS / "mine.yaml").write_text(text)
    with pytest.raises(ParamsError, match=said):
        launch.read("mine")


def _problems(**sections: dict[str, Any]) -> list[str]:
    tree = {name: {**PARAMS[name], **changes} for name, changes in sections.items()}
    found = params_checks.problems(params.Params.model_validate({**PARAMS, **tree}, strict=False))
    return [f"{'.'.join(map(str, path))}: {text}" for path, text in found]


KTO = {"beta": 0.1, "wanted_weight": 1.0, "unwanted_weight": 1.0, "row_weights": False}
RLOO = {**tiny_model.ONLINE, "normalize_advantages": False, "rewards": [{"kind": "right", "weight": 1.0}]}


def test_steps_that_cannot_be_shared_out_are_refused_by_the_check(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _problems(sft={"launch": "ddp_cpu", "batch_size": 8, "micro_batch_size": 4}) == []
    uneven = _problems(sft={"launch": "ddp_cpu", "batch_size": 8, "micro_batch_size": 8})
    assert uneven == ["sft.batch_size: 8 cannot be shared out evenly among 2 processes of 8 rows"]
    monkeypatch.setenv("CLEW_PROCESSES", "3")
    uneven = _problems(sft={"launch": "ddp_cpu", "batch_size": 8, "micro_batch_size": "auto"})
    assert uneven == ["sft.batch_size: 8 cannot be shared out evenly among 3 processes"]
    assert _problems(reward={"launch": "nowhere", "enabled": False}) == []


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"sft": {"launch": "elsewhere"}}, "sft.launch: there is no configs/elsewhere.yaml"),
        ({"sft": {"launch": "fsdp", "method": "qlora"}}, "sft.method: qlora is not trained under fsdp"),
        ({"sft": {"launch": "fsdp", "optimizer": "adamw_8bit"}}, "sft.optimizer: adamw_8bit takes no weights in parts"),
        ({"sft": {"launch": "zero3"}}, "sft.launch: ZeRO wants the package deepspeed, which is not installed"),
        (
            {"align": {"launch": "ddp", "algorithm": "rloo", "dpo": None, "rloo": RLOO, "lora": LORA}},
            "align.launch: rloo draws and compares the answers of a step in one process; set it to null",
        ),
        (
            {"align": {"launch": "ddp", "dpo": {**PARAMS["align"]["dpo"], "row_weights": True}}},
            "align.dpo.row_weights: has the model asked once for each pair",
        ),
    ],
)
def test_what_cannot_run_in_several_processes_is_refused_with_the_reason(
    here: Path, sections: dict[str, dict[str, Any]], said: str
) -> None:
    (name,) = sections
    found = _problems(**{name: {**sections[name], "batch_size": 8, "micro_batch_size": 1}})
    assert any(one.startswith(said) for one in found), found


def test_kto_and_dpo_may_run_in_several_processes(here: Path) -> None:
    kto = {"algorithm": "kto", "dpo": None, "kto": KTO}
    assert _problems(align={"launch": "ddp_cpu", "micro_batch_size": 4, **kto}) == []
    assert _problems(align={"launch": "ddp_cpu", "micro_batch_size": 4}) == []


@pytest.mark.parametrize(("came", "asked"), [(1, 2), (2, 4)])
def test_fewer_processes_than_asked_for_are_an_error(came: int, asked: int) -> None:
    launched = Launch("ddp", asked, 1, "ddp", cpu=True)
    with pytest.raises(
        SetupError, match=rf"configs/ddp.yaml: asked for {asked} processes, and there is {came}\. Set `launch` to"
    ):
        processes.check_state(launched, came)
    processes.check_state(launched, asked)


def test_processes_that_nobody_asked_for_are_an_error() -> None:
    with pytest.raises(SetupError, match=r"started in 2 processes from outside.*set `launch`"):
        processes.check_state(None, 2)


def _ask(monkeypatch: pytest.MonkeyPatch, asked: Launch) -> None:
    monkeypatch.setenv(processes.ASKED, json.dumps(asdict(asked)))


def test_another_wrapper_than_asked_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class DistributedDataParallel(torch.nn.Linear):
        """By its name only."""

    monkeypatch.setenv(
        processes.ASKED, '{"config": "fsdp", "processes": 1, "machines": 1, "wrapper": "fsdp", "cpu": true}'
    )
    for model, found in ((torch.nn.Linear(1, 1), "none"), (DistributedDataParallel(1, 1), "ddp")):
        with pytest.raises(SetupError, match=f"configs/fsdp.yaml: asked for fsdp, and there is {found}"):
            processes.check_wrapper(model)
    monkeypatch.delenv(processes.ASKED)
    processes.check_wrapper(torch.nn.Linear(1, 1))


def test_gpus_that_are_not_there_are_an_error_before_anything_is_loaded() -> None:
    import torch

    if torch.cuda.device_count() >= 8:
        pytest.skip("this machine has them")
    with pytest.raises(SetupError, match="asked for 8 GPUs on this machine, and there is"):
        processes.join(Launch("ddp", 8, 1, "ddp", cpu=False))


def test_a_model_of_one_process_says_nothing_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.made_by() == {}
    monkeypatch.setenv(
        processes.ASKED, '{"config": "ddp", "processes": 4, "machines": 2, "wrapper": "ddp", "cpu": true}'
    )
    assert processes.made_by() == {"launch": {"config": "ddp", "processes": 4, "machines": 2, "wrapper": "ddp"}}


REPORT = """
import os, pickle, sys
from pathlib import Path
from clew import rank
from clew.errors import ModelError
for number in (0, 1):
    error = ModelError("it is odd", where="models/base", fix="Mend it.") if number else "RuntimeError: peer closed"
    rank.report(number, error=error, killed=False)
    __import__("time").sleep(0.01)
sys.exit(1)
"""


def test_the_error_of_the_process_that_failed_first_is_raised(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, place = launch.read("ddp_cpu")
    for text, said in ((REPORT, "process 0: RuntimeError: peer closed"), (REPORT.replace("(0, 1)", "(1, 0)"), "odd")):
        command = [sys.executable, "-c", text]
        monkeypatch.setattr(launch, "_command", lambda *_, command=command: command)
        with pytest.raises(SetupError if "peer" in said else ModelError, match=said):
            launch.run("sft", asked, place)
    monkeypatch.setattr(launch, "_command", lambda *_: ["false"])
    with pytest.raises(SetupError, match="accelerate launch ended with exit code 1"):
        launch.run("sft", asked, place)
