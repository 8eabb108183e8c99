"""The section `augment` of params.yaml: one class a method. null is off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clew.params_section import Count, Name, Section

Rate = Annotated[float, Field(gt=0, le=1)]


class Synonyms(Section):
    """Words take one of their synonyms' places. Words of the row's answer and options stay."""

    source: Name
    """A name under fetch_data.sources …"""
    file: str
    """… and a file of it, UTF-8: a line for each word, `word<TAB>synonym<TAB>synonym …`."""
    rate: Rate
    """Of the words that have synonyms; one at least is replaced."""
    copies: Count
    """New rows of each row."""


class Typos(Section):
    """A neighbour on the keyboard, two letters the wrong way round, or one left out. Words of the row's answer and
    options stay, and so do words of fewer than four letters (`not`), first letters and digits."""

    rate: Rate
    """Of the letters; one at least is hit."""
    copies: Count


class Prompts(Section):
    """The same row, asked otherwise."""

    templates: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    """Jinja templates of the user's message over `text` (the row's) and `prompt` (the message as it is)."""
    copies: Count
    """Templates that each row is asked by."""

    @model_validator(mode="after")
    def _enough(self) -> Prompts:
        if self.copies > len(self.templates):
            raise ValueError(f"copies: {self.copies} of {len(self.templates)} templates")
        return self


class Upsample(Section):
    """Copies of the rows of thin classes or sources, after all else."""

    by: Literal["label", "source"]
    """label: the task's labels are evened out. source: the task's source is, against the largest source."""
    to: Rate
    """Up to this share of the largest label's or source's rows."""
    most: Count
    """Copies of a row at most."""


class TaskAugmentation(Section):
    """What is made of the rows of a task. Whether a change leaves the label right is yours to judge."""

    synonyms: Synonyms | None
    typos: Typos | None
    prompts: Prompts | None
    upsample: Upsample | None


class Augment(Section):
    """New rows made of rows of train, each with its parent's id; or a pass-through."""

    enabled: bool
    tasks: dict[Name, TaskAugmentation]
    """Tasks that are not named here stay as they are."""
