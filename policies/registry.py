"""Policies by name: rules, and trained ones from the files that ship or from a user's own."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path

from power_sim.scenario import Scenario

from .cards import read_card
from .contest import UNIVERSAL, Verdict, hold_contest
from .decision import Policy
from .errors import PolicyFileError, UnknownPolicyError
from .learned import learned_policy
from .lookahead import Lookahead, outlook_of, typical_points_per_j
from .network import card_path, load_policy_file
from .rules import Barrier, Chance, Fixed, Greedy, Threshold
from .tabular import load_table, tabular_policy
from .universal import universal_policy
from .worth import worth_of

RULES = ("random", "greedy", "threshold", "barrier", "lookahead")
AUTO = "auto"
"""Whatever is known to be best in a scenario: see ``verdict_on``."""
LEARNED = ("dqn", "q-learning", "policy-gradient", "universal")
"""Each of them looks for the file that ships for the scenario, or takes the path that is named."""


def policy_names() -> tuple[str, ...]:
    """Return what ``make_policy`` understands; capitals stand for a name or a path."""
    return (AUTO, "fixed:NAME", *RULES, *(name for kind in LEARNED for name in (kind, f"{kind}:PATH")))


def make_policy(spec: str, scenario: Scenario, *, seed: int, directory: Path | None = None) -> Policy:
    """Return the policy that ``spec`` names, for ``scenario``; ``auto`` is the best known there.

    ``seed`` matters to policies that draw. ``directory`` is where trained policies are looked for, by default those
    that ship. Raises ``UnknownPolicyError`` for a name and ``PolicyFileError`` for a file that cannot be used.
    """
    kind, _, argument = (best_known(scenario, directory) if spec == AUTO else spec).partition(":")
    if kind == "fixed":
        return _fixed(argument, scenario)
    if kind in LEARNED:
        path = Path(argument) if argument else _shipped(kind, scenario, directory)
        if kind == "universal":
            return universal_policy(load_policy_file(path), path.name)
        if kind == "q-learning":
            return tabular_policy(load_table(path), scenario, path.name)
        return learned_policy(kind, load_policy_file(path), scenario, path.name)
    if kind not in RULES or argument:
        close = difflib.get_close_matches(kind, [*RULES, *LEARNED, "fixed", AUTO], n=1)
        hint = f"Did you mean {close[0]}?" if close and not argument else f"Use one of {', '.join(policy_names())}."
        raise UnknownPolicyError(f"There is no policy {spec!r}. {hint}")
    return _rule(kind, scenario, seed)


def best_known(scenario: Scenario, directory: Path | None = None) -> str:
    """Return the policy that ``auto`` takes in a scenario: see ``verdict_on``."""
    return verdict_on(scenario, directory).policy


def verdict_on(scenario: Scenario, directory: Path | None = None) -> Verdict:
    """Return what ``auto`` takes: what the cards of trained policies call best in this very scenario, else the winner
    of a contest in it.

    A card also says what the rules were worth on the same missions, so that a rule is picked where it does better.
    Raises ``PolicyFileError`` for a damaged card, and for a universal policy that cannot be used.
    """
    worth: dict[str, float] = {}
    for kind in LEARNED:
        path = shipped_path(kind, scenario, directory)
        if not path.is_file() or not card_path(path).is_file():
            continue
        result = read_card(path).get("results", {}).get(scenario.name, {})
        if result.get("scenario_sha256") == scenario.sha256:
            known = {*RULES, *fixed_names(scenario)}
            worth |= {name: value for name, value in result.get("others_value_mean", {}).items() if name in known}
            worth[kind] = result["value_mean"]
    if worth:
        first = [name for name in (UNIVERSAL, *RULES) if name in worth]  # of equal ones
        best = max(dict.fromkeys([*first, *worth]), key=lambda name: worth[name])
        return Verdict(best, "cards", f"the cards call {best} best in {scenario.name}", scenario.sha256)
    path = shipped_path(UNIVERSAL, scenario, directory)
    if not path.is_file():
        return Verdict(UNIVERSAL, "default", f"no contest: there is no {path.name}", scenario.sha256)
    return hold_contest(scenario, path)


def fixed_names(scenario: Scenario) -> tuple[str, ...]:
    """Return the fixed policies of a scenario, one for each network of its pool."""
    return tuple(dict.fromkeys(f"fixed:{model.name}" for model in scenario.pool.models))


def shipped_path(kind: str, scenario: Scenario, directory: Path | None = None) -> Path:
    """Return where the trained policy of a kind lies for a scenario; the universal one is the same for all."""
    folder = directory if directory is not None else Path(str(files("policies").joinpath("shipped")))
    return folder / ("universal.npz" if kind == "universal" else f"{kind}-{scenario.name}.npz")


def _rule(kind: str, scenario: Scenario, seed: int) -> Policy:
    worth = worth_of(scenario)
    if kind == "random":
        return Chance(seed)
    if kind == "greedy":
        return Greedy(worth)
    if kind == "threshold":
        return Threshold(worth=worth)
    if kind == "barrier":
        return Barrier(typical_points_per_j(scenario), worth=worth)
    return Lookahead(outlook_of(scenario), worth)


def _fixed(name: str, scenario: Scenario) -> Policy:
    known = list(dict.fromkeys(model.name for model in scenario.pool.models))
    if name not in known:
        asked = f"no network {name!r}" if name else "no network named in 'fixed:'"
        raise UnknownPolicyError(f"{scenario.name} has {asked}. Use fixed: with one of {', '.join(known)}.")
    return Fixed(name)


def _shipped(kind: str, scenario: Scenario, directory: Path | None) -> Path:
    path = shipped_path(kind, scenario, directory)
    if not path.is_file():
        there = sorted(p.stem.removeprefix(f"{kind}-") for p in path.parent.glob(f"{kind}-*.npz"))
        raise PolicyFileError(
            f"No trained {kind} for {scenario.name}{f' (there is one for {chr(44).join(there)})' if there else ''}. "
            f"Fly with --policy auto or universal, or train one: subsolar train {kind} --scenario {scenario.name}"
        )
    return path
