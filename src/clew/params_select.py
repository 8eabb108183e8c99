"""The section `select` of params.yaml."""

from __future__ import annotations

from typing import Literal

from clew.params_section import Section


class Select(Section):
    """The best rows of train, kept; or a pass-through."""

    enabled: Literal[False]
