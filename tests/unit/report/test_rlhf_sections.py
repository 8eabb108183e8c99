"""What the page says of training, the reward model and alignment: the figures of metrics/, with n and interval."""

from __future__ import annotations

import dataclasses
from copy import deepcopy

import pytest
from test_page import changed, part

from clew.report import page
from clew.report.experiment import Fed
from clew.report.sections import alignment, data, headline, reward

HACKING = {"steps": 2, "length": 1.5, "repetition": 0.1, "distinct": 0.2, "kl": 1.0}
GRPO = {
    "generations": 2,
    "max_new_tokens": 8,
    "temperature": 1.0,
    "beta": 0.04,
    "epsilon": 0.2,
    "hacking": HACKING,
    "loss": "dapo",
    "scale_rewards": "group",
    "rewards": [{"kind": "model", "weight": 1.0}],
}
WARNING = "the reward rose from 0.1 to 0.9 while answers grew from 5.0 to 20.0 tokens"
HELD_OUT = {
    "n": 48,
    "preference_accuracy": {
        "n": 40,
        "sft": {"value": 0.55, "low": 0.4, "high": 0.7},
        "aligned": {
            "value": 0.7,
            "low": 0.56,
            "high": 0.83,
            "vs_sft": {"difference": 0.15, "low": 0.02, "high": 0.29, "p": 0.021},
        },
    },
    "win_rate": {"value": 0.5, "low": 0.36, "high": 0.64, "n": 48},
    "reward": {
        "n": 48,
        "sft": {"value": 0.2, "low": 0.1, "high": 0.3},
        "aligned": {
            "value": 0.1,
            "low": 0.0,
            "high": 0.15,
            "vs_sft": {"difference": -0.1, "low": -0.2, "high": -0.01, "p": 0.04},
        },
    },
}
JUDGED = {
    "n": 20,
    "accuracy": {"value": 0.75, "low": 0.55, "high": 0.95},
    "margin": {"value": 0.4, "low": 0.1, "high": 0.8},
    "brier": {"value": 0.2, "low": 0.15, "high": 0.24},
    "calibration_error": 0.113,
    "by_task": {"stress": {"accuracy": 0.8, "n": 10}, "notes": {"accuracy": 0.7, "n": 10}},
}
BINS = [
    {"low": "0.5", "high": "0.75", "n": "15", "mean": "0.6", "right": "0.5"},
    {"low": "0.75", "high": "1.0", "n": "0", "mean": "", "right": ""},
]


def steps(n: int, rise: float) -> list[dict[str, str]]:
    """Lines of align_steps.csv in which the reward and the length change from step to step."""
    flat = {"margin": "", "kl": "0.1", "repetition": "0.0", "distinct": "0.9"}
    return [{"step": str(at), "reward": str(rise * at), "length": str(5 + rise * at)} | flat for at in range(1, n + 1)]


@pytest.fixture
def rlhf(run):
    """The example with a reward model and GRPO, compared on held-out rows."""
    own = {"rows": 48, "max_new_tokens": 8, "resamples": 200, "confidence": 0.9}
    found = changed(
        run,
        reward={"enabled": True, "tasks": ["stress", "notes"]},
        align={"algorithm": "grpo", "dpo": None, "grpo": GRPO, "held_out": own},
    )
    training = run.training | {
        "reward": {"enabled": True, "pairs": {"all": 64}, "held_out": JUDGED, "steps": 8},
        "align": run.training["align"] | {"held_out": HELD_OUT, "warnings": []},
    }
    fed = run.fed | {"reward": Fed(64, 1, 3, 9000, 0, 0)}
    return dataclasses.replace(found, training=training, steps=steps(8, 0.1), reliability=BINS, fed=fed)


def with_align(run, **figures):
    return dataclasses.replace(run, training=run.training | {"align": run.training["align"] | figures})


def test_what_was_trained_stands_with_the_rows_as_they_were_fed(run, rlhf):
    """Of the ledger, the rows as fed and the params: method, share, batch, times fed, cut and left out by reason."""
    shown = part(page.render(run), "training")
    rows = run.fed["sft"].rows
    assert "LoRA of rank 8, 1 epoch trained 2.0 % of 1 000 000 parameters (20 000)" in shown
    assert "AdamW, learning rate 0.001 at most, linear, rising over 10 % of the steps" in shown
    assert f"{rows}, once each; 1 of them without the middle of their prompt (too long)" in shown
    assert f"{10 * rows:,} read, {2 * rows} of them learned not fed 1 too long".replace(",", " ", 1) in shown
    assert "Reward model" not in shown
    auto = changed(rlhf, sft={"method": "qlora", "micro_batch_size": "auto", "warmup": 5})
    shown = part(page.render(auto), "training")
    assert "QLoRA of rank 8" in shown
    assert "8 rows, as many at a time as fit into memory" in shown
    assert "rising over 5 steps" in shown
    assert "64, 1 to 3 times each tokens 9 000 read" in shown
    assert "GRPO (dapo loss), beta 0.04; reward: 1 × model" in shown


def test_the_reward_model_is_shown_with_n_and_intervals(rlhf):
    shown = part(page.render(rlhf), "reward")
    assert "64 preference pairs to rate answers, and was then asked about 20 pairs" in shown
    assert "75.0 % 55.0 to 95.0 % ▲ better than guessing" in shown
    assert "stress n = 10 80.0 %" in shown
    assert "0.2 0.15 to 0.24 ▲ better than guessing" in shown  # lower is better
    assert "calibration error 11.3 points" in shown
    assert "nothing to teach" not in shown
    assert "90 % intervals" in part(page.render(rlhf), "alignment")


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.8), (0.3, 0.45)])
def test_a_reward_model_that_guesses_is_said_to_have_nothing_to_teach(rlhf, low, high):
    judged = JUDGED | {"accuracy": {"value": (low + high) / 2, "low": low, "high": high}}
    training = rlhf.training | {"reward": rlhf.training["reward"] | {"held_out": judged}}
    assert "nothing to teach" in part(page.render(dataclasses.replace(rlhf, training=training)), "reward")


def test_the_reliability_diagram_has_a_dot_where_pairs_are(rlhf):
    """At the mean probability and the share that was so; bins without pairs have none."""
    (only,) = reward.build(rlhf)["chart"]["bins"]
    assert (only["n"], only["mean"], only["right"]) == (15, 0.6, 0.5)
    assert only["low"] < 0.5 < only["high"]
    html = page.render(rlhf).partition('<section id="reward"')[2].partition("</section>")[0]
    assert html.count('<circle class="line-2"') == 1
    assert 'cx="20%" cy="50.0%"' in html


def test_without_held_out_pairs_the_reason_stands_there(rlhf):
    training = rlhf.training | {"reward": rlhf.training["reward"] | {"held_out": {"n": 0, "reason": "no `pair`"}}}
    assert "was not measured: no “pair”" in part(page.render(dataclasses.replace(rlhf, training=training)), "reward")


def test_both_models_stand_side_by_side_on_held_out_rows(rlhf):
    """What is likelier, whose answers win, and the rewards: against sft on the same rows."""
    shown = part(page.render(rlhf), "alignment")
    assert "asked about 48 rows of the validation split" in shown
    assert "Preference accuracy n = 40" in shown
    assert "sft 55.0 % 40.0 to 70.0 % = no difference from guessing shown" in shown
    assert "aligned 70.0 % 56.0 to 83.0 % ▲ better than sft +15.0 points (+2.0 to +29.0), p = 0.021" in shown
    assert "aligned 50.0 % 36.0 to 64.0 % = no difference from sft shown" in shown
    assert "▼ worse than sft −0.1 (−0.2 to −0.01), p = 0.040" in shown


def test_without_a_reward_model_there_is_no_win_rate_and_why(rlhf):
    found = {name: HELD_OUT[name] for name in ("n", "preference_accuracy")}
    without = with_align(rlhf, held_out=found | {"win_rate": {"value": None, "reason": "there is no reward model"}})
    shown = part(page.render(without), "alignment")
    assert "No win rate: there is no reward model" in shown
    assert "Win rate n" not in shown


def test_nothing_held_out_is_said_to_be_so(run, rlhf):
    assert "not compared on held-out rows" in part(page.render(run), "alignment")
    none = with_align(rlhf, held_out={"n": 0, "reason": "no row"})
    assert "Nothing was held out: no row" in part(page.render(none), "alignment")


def test_warnings_stand_beside_the_curves_and_in_the_headline(rlhf):
    html = page.render(with_align(rlhf, warnings=[WARNING]))
    assert f"warning T{WARNING[1:]}. Read some answers" in part(html, "alignment")
    assert "The reward may have been gamed" in part(html, "headline")
    assert "gamed: see" not in part(page.render(rlhf), "headline")


@pytest.mark.parametrize(
    ("n", "rise", "told"),
    [
        (3, 0.1, "3 steps are too few to compare the first 2 with the last 2"),
        (8, -0.1, "The reward did not rise: from −0.15 to −0.75"),
        (8, 0.1, "The reward rose from 0.15 to 0.75 (means of the first and last 2 steps), and neither length"),
    ],
)
def test_a_watch_that_saw_nothing_says_what_it_saw(rlhf, n, rise, told):
    assert told in part(page.render(dataclasses.replace(rlhf, steps=steps(n, rise))), "alignment")


def test_curves_have_their_bounds_and_empty_columns_have_no_picture(rlhf):
    built = {one["title"]: one for one in alignment.build(rlhf)["curves"]}
    assert set(built) == {"Reward", "KL to sft", "Length", "Repetition", "Variety (distinct-2)"}
    assert built["Length"]["bounds"] == []  # 7.73 and 3.43 are far from 5.1 to 5.8
    assert built["Repetition"]["bounds"] == [0.1]
    assert "Beyond 7.73 or 3.43 it is warned of" in built["Length"]["x_label"]
    assert [line["name"] for line in built["Reward"]["lines"]] == ["each step", "mean of 2 steps"]


def test_whose_preferences_were_learned_is_told(run, rlhf):
    """From keys and labels, from people's ratings, or from rewards for answers that nobody read."""
    assert "No person was asked" in part(page.render(run), "limits")
    tasks = deepcopy(run.params["prepare"]["tasks"])
    tasks["stress"]["kind"] = "ratings"
    shown = part(page.render(changed(run, prepare={"tasks": tasks})), "limits")
    assert "(stress) come from people’s ratings" in shown
    assert "No person was asked" not in shown
    assert "No person read those answers." in part(page.render(rlhf), "limits")


def test_ratings_are_counted_apart_and_their_agreement_is_shown(run):
    decided = [one for one in run.decisions if one.stage != "prepare" or one.rule is None or one.decision != "dropped"]
    first = next(one for one in decided if one.stage == "prepare")
    more = [
        dataclasses.replace(first, decision="dropped", rule=rule, n=n) for rule, n in (("rated", 7), ("few_raters", 3))
    ]
    rated = {"stress": run.prepare["stress"] | {"ratings": {"prompts": 30, "pairs": 20, "alpha": 0.713}}}
    found = dataclasses.replace(run, decisions=[*decided, *more], prepare={**run.prepare, **rated})
    counts = data.of_source(found, first.source)["counts"]
    before = data.of_source(dataclasses.replace(run, decisions=decided), first.source)["counts"]
    assert (counts["in a pair"], counts["unfit"]) == (7, before["unfit"])
    assert counts["left out"] == before["left out"] + 3
    shown = part(page.render(found), "data")
    assert "of 30 prompts 20 made a preference pair" in shown
    assert "0.71; 1 is full agreement" in shown
    assert "in a pair" not in part(page.render(run), "data")


def test_a_first_variant_without_a_parent_shows_its_scores(run):
    """An encoder has no base to be compared with."""
    names = ("sft", "int8")
    quality = deepcopy({name: run.quality[name] for name in names})
    for entries in quality["sft"].values():
        for entry in entries.values():
            entry.pop("vs_parent", None)
    alone = dataclasses.replace(run, quality=quality, predictions={name: run.predictions[name] for name in names})
    built = headline.build(alone)
    score = quality["sft"]["stress"]["accuracy"]["value"]
    assert f"accuracy {100 * score:.1f}" in built["finding"]
    shown = part(page.render(alone), "headline")
    assert f"stress accuracy, n = 60 {100 * score:.1f} %" in shown
    assert "dashed: always" in shown
    assert "not compared" not in shown
