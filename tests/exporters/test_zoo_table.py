"""The table of the zoo: what docs/zoo.md says is what the registry, the results and the packages say."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporters.errors import PackageError
from exporters.package import PackageInfo, Profile, load_package
from exporters.registry import networks
from exporters.strict_json import from_json
from exporters.zoo_measured import FILE, Counted, Measured, Score, ZooMeasured, packed, parity_words, read_measured
from runtime.cli.packages import known


@pytest.fixture(scope="module")
def stored() -> ZooMeasured:
    return from_json(ZooMeasured, FILE.read_bytes(), str(FILE))


@pytest.fixture(scope="module")
def maker(repo: Path) -> Any:
    sys.path.append(str(repo / "benchmarks"))
    import zoo_table

    return zoo_table


def test_the_page_is_what_the_command_writes(repo: Path, stored: ZooMeasured, maker: Any) -> None:
    assert (repo / "docs" / "zoo.md").read_text(encoding="utf-8") == maker.render(stored), "run: make zoo-table"


def test_every_score_is_that_of_its_result_file(stored: ZooMeasured, maker: Any) -> None:
    said = maker.scores()
    told = {name: row.score for name, row in stored.systems.items() if row.score and row.score.source.endswith("json")}
    assert {name: score for name, score in told.items() if name in said} == said, "run: make zoo-table"


def test_every_system_of_the_table_is_one_of_the_zoo(stored: ZooMeasured) -> None:
    for name, row in stored.systems.items():
        network, _, size = name.partition("@")
        stated = networks()[network].sizes[size or "published"]
        assert (row.counted.params_paper, row.counted.gmacs_paper) == (stated.params_paper, stated.gmacs_paper)
        assert row.counted.input == stated.input


def test_what_ships_is_in_the_table_as_its_package_says(repo: Path, stored: ZooMeasured) -> None:
    for name in ("eurosat-mobilenet-v2", "eurosat-mobilenet-v3-large", "eurosat-resnet18"):
        package = load_package(repo / "deploy/packages" / name, trust=repo / "deploy/keys")
        row = stored.systems[package.info.network].package
        assert row is not None
        assert (row.id, row.ships, row.parity) == (name, True, parity_words(package.info))


def test_the_facts_of_a_package_are_read_from_it(info: PackageInfo, profile: Profile) -> None:
    source = replace(info.proofs[0], source="pytorch as stored", max_abs_diff=2.5e-4, cosine_min=0.9999993)
    search = replace(info, proofs=(source,), output=replace(info.output, kind="embedding"))
    facts = packed(search, profile, 12_000, ships=False)
    assert facts.parity == "2.5e-04, cosine 0.999999 on 256 tiles"
    assert (facts.tiles_per_cpu_s, facts.batch, facts.tile, facts.precision) == (1000.0, 8, (3, 4, 4), "float32")
    score = Score(metric="AP50", score=0.7, baseline=0.6, baseline_name="x", n=3, seeds=1, source="f.json")
    counted = Counted(params=1, params_paper=None, gmacs=1.0, gmacs_paper=None, input=(3, 4, 4))
    text = known(Measured(counted=counted, score=score, package=facts))
    assert "AP50 0.7 (baseline 0.6)" in text
    assert "1,000 tiles a CPU second; 0.0 MB; Apache-2.0, does not ship" in text
    assert known(None) == ""


def test_without_the_file_nothing_is_known_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    assert read_measured(tmp_path / "none.json") == {}
    (tmp_path / "bad.json").write_text('{"systems": 3}')
    with pytest.raises(PackageError):
        read_measured(tmp_path / "bad.json")
