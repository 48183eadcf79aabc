"""Policy cards: what a trained policy is, how it was trained and how it did, for machines and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from .errors import PolicyFileError
from .network import card_path


class Carded(Protocol):
    """A policy file of any kind."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Its description."""
        ...

    @property
    def sha256(self) -> str:
        """Of the file."""
        ...

    @property
    def shape(self) -> dict[str, Any]:
        """What it holds, in one entry."""
        ...


def write_card(path: Path, file: Carded, results: Mapping[str, Any] | None = None) -> Path:
    """Write the card of the policy file at ``path``, as JSON and as Markdown beside it; return the JSON's path.

    ``results`` maps a scenario to what ``evaluate`` said about this policy there.
    """
    card = {
        "file": path.name,
        "sha256": file.sha256,
        **file.about,
        **file.shape,
        "results": dict(results or {}),
    }
    json_path = card_path(path)
    json_path.write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(_markdown(card), encoding="utf-8")
    return json_path


def result_of(report: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """Return what a card keeps of an evaluation: grades without times, and what the others were worth beside them."""
    grades = {name: value for name, value in report["policies"][policy].items() if "_us_" not in name}
    others = {name: other["value_mean"] for name, other in report["policies"].items() if name != policy}
    gain = {name: [pair["mean_frac"], *pair["ci95"]] for name, pair in report["gain"][policy].items()}
    return {
        **grades,
        "seeds": report["seeds"],
        "scenario_sha256": report["scenario_sha256"],
        "bound_value_mean": report["bound"]["value_mean"],
        "bound_feasible_mean": report["bound"]["feasible_mean"],
        "others_value_mean": others,
        "gain_frac_and_ci95": gain,
    }


def read_card(path: Path) -> dict[str, Any]:
    """Return the card of the policy file at ``path``; ``PolicyFileError`` where it is missing or damaged."""
    try:
        card = json.loads(card_path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyFileError(f"{path.name} has no card ({error.strerror}). Restore {card_path(path).name}.") from error
    except ValueError as error:
        raise PolicyFileError(f"The card {card_path(path).name} is damaged ({error}). Restore it.") from error
    if not isinstance(card, dict):
        raise PolicyFileError(f"The card {card_path(path).name} is damaged. Restore it.")
    return card


def _markdown(card: Mapping[str, Any]) -> str:
    lines = [
        f"# {card['file']}",
        "",
        f"A `{card['kind']}` policy for `{card['scenario']}`.",
        "",
        "| | |",
        "|---|---|",
        f"| sha256 | `{card['sha256']}` |",
        f"| scenario sha256 | `{card['scenario_sha256']}` |",
        f"| observation layout | `{card['layout']}` |",
        f"| actions | {', '.join(card['actions'])} |",
    ]
    if "network" in card:
        lines.append(f"| network | {' - '.join(map(str, card['network']))}, ReLU |")
    if "table" in card:
        lines.append(f"| table | {' x '.join(map(str, card['table']))} (cells x actions) |")
    lines += [f"| {name.replace('_', ' ')} | {_short(value)} |" for name, value in sorted(card["trained"].items())]
    for scenario, result in sorted(card["results"].items()):
        lines += ["", f"## In {scenario}", "", "| | |", "|---|---|"]
        lines += [f"| {name.replace('_', ' ')} | {_short(value)} |" for name, value in sorted(result.items())]
    return "\n".join(lines) + "\n"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_short, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    return str(value)
