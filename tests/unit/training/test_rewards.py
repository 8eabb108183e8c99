"""Rewards: functions that are built in, and those in a file of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew import params_training as params
from clew import paths
from clew.errors import DataError, ParamsError
from clew.training import hacking, rewards
from examples import tiny_model

HACKING = params.Hacking(steps=2, length=1.5, repetition=0.2, distinct=0.2, kl=1.0)


def _score(term: params.RewardTerm, *texts: str) -> list[float | None]:
    ((_, _, score),) = rewards.make([term], None)
    return score([rewards.Answer(tiny_model.row(0, "yes"), text, []) for text in texts])


def test_built_in_rewards() -> None:
    assert _score(params.RightReward(kind="right", weight=1.0), "Yes.", "no", "yes, she does") == [1, 0, 0]
    assert _score(params.LengthReward(kind="length", words=2, weight=1.0), "", "a b", "a b c d") == [1, 1, 0.5]
    assert _score(params.FormatReward(kind="format", pattern="yes|no", weight=1.0), "yes\n", "yes no") == [1, 0]
    found = _score(params.RepetitionReward(kind="repetition", ngram=2, weight=-1.0), "a b a b a", "a b c", "a")
    assert found == [0.5, 0, 0]


def test_a_row_without_an_answer_is_not_judged_by_it() -> None:
    assert rewards.right("yes", {"completion": None}) is None


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    paths.REWARDS.mkdir()
    return paths.REWARDS / "mine.py"


def _mine(function: str = "score") -> params.FileReward:
    return params.FileReward(kind="file", file="mine.py", function=function, weight=1.0)


def test_a_file_of_the_users_sees_answers_and_rows(file: Path) -> None:
    file.write_text(
        "HALF = 0.5\n"
        "def score(completions, rows):\n"
        "    return [None if not c else HALF * (c == r['label']) for c, r in zip(completions, rows)]\n"
    )
    assert _score(_mine(), "yes", "no", "") == [0.5, 0, None]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    return [1.0]", "the reward function `score` gave 1 numbers for 2 answers"),
        ("    return [float('nan')] * 2", "gave a number that is not finite"),
        ("    return [1 / 0] * 2", r"mine.py:2: the reward function `score` failed: ZeroDivisionError"),
        ("    return ['good'] * 2", "failed: ValueError: could not convert string"),
        ("    return 1.0", "failed: TypeError"),
    ],
)
def test_what_is_wrong_with_a_users_function_is_told_with_its_place(file: Path, body: str, said: str) -> None:
    file.write_text(f"def score(completions, rows):\n{body}\n")
    with pytest.raises(DataError, match=said):
        _score(_mine(), "a", "b")


def test_files_and_functions_that_are_not_there_are_told_with_those_that_are(file: Path) -> None:
    with pytest.raises(ParamsError, match=r"rewards/mine.py does not exist.*holds: no .py file"):
        _score(_mine())
    file.write_text("def other(completions, rows):\n    return []\n")
    with pytest.raises(ParamsError, match=r"has no function `score`.*It has: other"):
        _score(_mine())
    file.write_text("def score(:\n")
    with pytest.raises(DataError, match="failed: SyntaxError"):
        _score(_mine())


def _steps(reward: tuple[float, float], **ends: tuple[float, float]) -> list[hacking.Step]:
    calm = {"kl": (0.0, 0.1), "length": (20.0, 21.0), "repetition": (0.1, 0.1), "distinct": (0.8, 0.8)} | ends
    halves = [{"reward": reward[side], **{name: value[side] for name, value in calm.items()}} for side in (0, 1)]
    return [hacking.Step(step, **halves[step > 3]) for step in range(1, 7)]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"length": (20.0, 40.0)}, "answers grew from 20.0 to 40.0 tokens"),
        ({"length": (20.0, 5.0)}, "answers shrank from 20.0 to 5.0 tokens"),
        ({"repetition": (0.1, 0.4)}, "repeated 3-grams rose from 10% to 40%"),
        ({"distinct": (0.8, 0.5)}, "distinct-2 fell from 0.80 to 0.50"),
        ({"kl": (0.0, 1.5)}, "the KL to the sft model went from 0.000 to 1.500 nats a token"),
    ],
)
def test_answers_that_change_while_the_reward_rises_are_warned_of(
    ends: dict[str, tuple[float, float]], said: str
) -> None:
    assert hacking.warnings(_steps((0.2, 0.9), **ends), HACKING) == [
        f"the reward rose from 0.200 to 0.900 while {said}"
    ]
    assert not hacking.warnings(_steps((0.9, 0.2), **ends), HACKING), "nothing is gained by it"
    assert not hacking.warnings(_steps((0.2, 0.9), **ends)[:3], HACKING), "too few steps"


def test_answers_that_stay_as_they_were_are_not_warned_of() -> None:
    assert not hacking.warnings(_steps((0.2, 0.9)), HACKING)
