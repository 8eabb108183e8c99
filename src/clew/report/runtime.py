"""The small page beside the report: what each stage took and on which machine. It differs from run to run.

metrics/runtime/sft.json: {"stage": "sft", "seconds": 164.2, "peak_memory_bytes": 5123416064,
 "hardware": {"cpu": "…", "cores": 2, "gpu": null}, "versions": {"torch": "2.13.0"}, "outs": {"models/sft": …}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clew import io, paths
from clew.errors import DataError
from clew.report import page, words

PAGE = paths.REPORT.with_name("runtime.html")
"""Volatile, so never an out."""

UNITS = {"align": "pairs or answers"}
"""What `pairs_per_second` counts where it is not pairs."""
ORDER = (
    *("fetch_data", "fetch_model", "prepare", "clean", "split", "select", "augment", "balance"),
    *("sft", "reward", "align", "compress", "predict", "evaluate", "fairness", "drift", "gate"),
)


def read() -> list[dict[str, Any]]:
    """The records of all stages but `report`, whose record is written after the page; in the order of the pipeline."""
    found = []
    for path in sorted(paths.RUNTIME.glob("*.json")):
        with suppress(DataError):  # one that a merge broke: the next run of its stage writes it anew
            found.append(io.read_json(path))
    order = {name: position for position, name in enumerate(ORDER)}
    known = [record for record in found if record.get("stage") not in (None, "report")]
    return sorted(known, key=lambda r: (order.get(r["stage"].partition("@")[0], len(order)), r["stage"]))


def render(records: Sequence[Mapping[str, Any]], title: str, digests: Mapping[str, str]) -> str:
    """The page as HTML. `digests` are known ones, path → SHA-256; the others are computed to tell stale records."""
    lines = [_line(record, digests) for record in records]
    hardware = [_hardware(record.get("hardware", {})) for record in records]
    versions = {name: v for record in records for name, v in record.get("versions", {}).items()}
    differ = {name: how for record in records for name, how in record.get("not_as_locked", {}).items()}
    return page.write(
        page.environment(),
        "runtime.html",
        {
            "title": title,
            "lines": lines,
            "trained": [line for line in lines if line["rate"]],
            "total": words.duration(sum(record.get("seconds", 0.0) for record in records)),
            "machines": sorted({machine for machine in hardware if machine}),
            "versions": sorted(versions.items()),
            "differ": sorted(differ.items()),
            "speed": _speed(records),
        },
    )


def _line(record: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    facts = record.get("facts") or {}
    peak = record.get("peak_memory_bytes")
    here = facts.get("micro_batch_size")
    rates = {name: facts.get(f"{name}_per_second") for name in ("tokens", "pairs")}
    return {
        "stage": record["stage"],
        "at_once": "" if here is None else words.number(here, "count"),
        "rate": next(
            (f"{words.number(rate)} {UNITS.get(record['stage'], name)}/s" for name, rate in rates.items() if rate), ""
        ),
        "from_step": facts.get("resumed_from_step") or "",
        "seconds": words.duration(record["seconds"]) if "seconds" in record else "–",
        "share": record.get("seconds", 0.0),
        "memory": words.size(peak) if peak else "–",
        "device": " ".join(str(facts[name]) for name in ("name", "precision") if facts.get(name)),
        "started": record.get("started", "–"),
        "commit": (record.get("commit") or "–")[:10] + (" with changes" if record.get("uncommitted_changes") else ""),
        "stale": any(_digest(path, digests) != sha256 for path, sha256 in (record.get("outs") or {}).items()),
    }


def _digest(path: str, digests: Mapping[str, str]) -> str | None:
    if path in digests:
        return digests[path]
    return io.tree_sha256(Path(path)) if Path(path).exists() else None


def _hardware(found: Mapping[str, Any]) -> str:
    parts = [found.get("cpu"), words.plural(found["cores"], "core") if found.get("cores") else None]
    parts += [words.size(found["memory_bytes"]) if found.get("memory_bytes") else None, found.get("system")]
    return ", ".join(str(part) for part in (*parts, found.get("gpu")) if part)


def _speed(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each variant, each task's seconds an example with their interval."""
    found = []
    for record in records:
        seconds = (record.get("facts") or {}).get("seconds_per_example")
        if isinstance(seconds, Mapping):
            cells = [(words.plain_name(task), _seconds(entry)) for task, entry in sorted(seconds.items())]
            found.append((record["stage"].partition("@")[2], cells))
    return found


def _seconds(entry: Mapping[str, Any]) -> str:
    value, interval = words.number(entry.get("value")), words.interval(entry)
    return f"{value}{words.NARROW}s" + (f" ({interval})" if interval else "")
