"""What the view holds. The first revision is the baseline; each other one is a `Side` compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from clew.history.snapshot import Snapshot
    from clew.lineage.data_changes import DataChanges

Verdict = Literal["better", "worse", "no difference shown"]
BETTER: Verdict = "better"
WORSE: Verdict = "worse"
SAME: Verdict = "no difference shown"

Kind = Literal["quality", "fairness", "size", "time"]
Change = Literal["param", "code", "data", "pipeline", "unexplained"]
Entry = Mapping[str, Any]
"""{value, low, high, n, reason}, as metrics/quality.json has it; {} where a revision has none."""


class Param(NamedTuple):
    """A param that differs. on: the sides that have it. not_run: stages that read it and last ran with another."""

    name: str
    before: Any
    after: Any
    on: Literal["both", "before", "after"]
    not_run: tuple[str, ...] = ()


class Title(NamedTuple):
    """A commit that touched a file. side: the revision that has it and the other has not."""

    commit: str
    title: str
    author: str
    side: Literal["before", "after"]


class CodeFile(NamedTuple):
    """A source file of the stages that differs. stages: those whose dvc.lock names it (or its folder).

    run: whether dvc.lock says that the stages ran with it; False where it was edited since. committed: False where
    the change is in no commit.
    """

    path: str
    change: Literal["changed", "added", "removed"]
    stages: tuple[str, ...]
    commits: tuple[Title, ...]
    run: bool
    committed: bool


class Paired(NamedTuple):
    """A paired test on the `n` rows that both test sets have.

    difference: after minus before on those rows, with its interval (uncorrected); for fairness of the distance from
    evenness. p: of the one test; holm: corrected over all tests of the view.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    n: int
    holm: float = 1.0


class Shared(NamedTuple):
    """How the test rows of a variant overlap: rows of both, of before alone, of after alone."""

    both: int
    before: int
    after: int


class Number(NamedTuple):
    """A number of a variant, on both sides; `verdict` is None where none can be given, and `reason` says why.

    name: `stress.f1`, or for fairness `stress.pronoun.statistical_parity_difference`.
    """

    kind: Kind
    variant: str
    name: str
    before: Entry
    after: Entry
    verdict: Verdict | None = None
    reason: str = ""
    paired: Paired | None = None

    @property
    def metric(self) -> str:
        """The name's last part."""
        return self.name.rpartition(".")[2]

    @property
    def change(self) -> float | None:
        """The difference of the stored values; None where a side has none."""
        first, second = self.before.get("value"), self.after.get("value")
        return None if first is None or second is None else second - first


class Cost(NamedTuple):
    """What a stage took, by its runtime record: seconds, bytes of memory at most, on what. None: not known."""

    stage: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Reach(NamedTuple):
    """How far a change goes: `roots` name what was changed, `stages` are those it reaches, in the pipeline's order.

    kind: param, code, data, pipeline (a stage's command, deps or params differ in dvc.lock) or unexplained (a stage
    made something else of the same inputs). variants: those whose numbers it reaches, `spared` those that it does not.
    ends_at: stages that it reached and that made the same bytes all the same. not_run: it has not gone through the
    pipeline yet; what is named is what it will reach.
    """

    kind: Change
    roots: tuple[str, ...]
    stages: tuple[str, ...]
    files: tuple[str, ...]
    variants: tuple[str, ...]
    spared: tuple[str, ...]
    ends_at: tuple[str, ...]
    not_run: bool


class Side(NamedTuple):
    """A revision beside the baseline."""

    after: Snapshot
    params: tuple[Param, ...]
    data: DataChanges
    code: tuple[CodeFile, ...]
    numbers: tuple[Number, ...]
    shared: Mapping[str, Mapping[str, Shared]]
    """variant → task → how the test rows overlap; where predictions of both sides were read."""
    others: tuple[Param, ...]
    """Numbers of the other metrics files: `metrics/sft.json:best_loss`."""
    costs: tuple[Cost, ...]
    reaches: tuple[Reach, ...]
    notes: tuple[str, ...]


class View(NamedTuple):
    """The whole comparison. tests: how many paired tests were made; resamples: draws of each. alpha: 1 - confidence."""

    before: Snapshot
    sides: tuple[Side, ...]
    tests: int
    resamples: int
    alpha: float
    tested: bool
    notes: tuple[str, ...]
