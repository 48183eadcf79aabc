"""What the ground asks for: tiles that a text describes are worth more from then on, questions are answered.

A request is a file ``NAME.request.json`` in the uplink folder, or one that came up by CFDP. It is removed once it is
served or refused; while nothing is indexed yet it waits.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters.package import ModelPackage
from power_sim.slot import SlotState

from ..answers import ViewOf
from ..errors import EngineError, MissionError, StoreError
from ..onboard import LoadedNetwork, plain
from ..records import Product
from ..store import ProductStore
from ..tasks.answer import tile_places
from ..tasks.ask import ANSWER, Asker, serve_ask
from ..tasks.request import MOST_BYTE, UplinkRequest
from ..tasks.search import TEXT, Searcher, serve_search
from ..text_index import TextIndex

log = logging.getLogger(__name__)

SUFFIX = ".request.json"
PENDING = 20_000
"""Products that wait, best first, among which a search looks for those that gain."""
COMPANION = {"search": TEXT, "ask": ANSWER}
"""What a package must hold to serve a kind of request."""


@dataclass
class Indexes:
    """The vectors of the tiles seen lately, an index for each package that can be asked."""

    folder: Path
    most_tile: int
    told: Callable[[str], None]
    _open: dict[str, TextIndex] = field(default_factory=dict)

    def of(self, package: ModelPackage) -> TextIndex:
        """The index of a package, anew where another version made the one that is there. Raises ``StoreError``."""
        info, name = package.info, f"{package.info.id} {package.sha256[:16]}"
        index = self._open.get(info.id)
        if index is not None and index.network == name:
            return index
        folder, dim = self.folder / info.id, package.info.answer_shape[0]
        try:
            index = TextIndex.open(folder, network=name, dim=dim, capacity=self.most_tile)
        except StoreError as error:
            self.told(f"the index of {info.id} begins anew: {error}")
            shutil.rmtree(folder, ignore_errors=True)
            index = TextIndex.open(folder, network=name, dim=dim, capacity=self.most_tile)
        self._open[info.id] = index
        return index

    def note(self, network: LoadedNetwork, findings: Sequence[Any], view: ViewOf, state: SlotState) -> None:
        """Keep the vectors that a slot has found, of packages that can be asked."""
        package = network.package
        if not any(can_serve(package, kind) for kind in COMPANION):
            return
        index = self.of(package)
        for found in plain(findings):
            if found:
                refs = [ref for ref, _ in found]
                vectors = np.stack([vector for _, vector in found])
                index.add(refs, vectors, captured_unix_s=state.start_unix_s, footprints=tile_places(refs, view))
        index.flush()


@dataclass
class RequestDesk:
    """Serves the requests that have come up. ``counts`` says how many were served and refused."""

    folders: Sequence[Path]
    store: ProductStore
    indexes: Indexes
    told: Callable[[str], None]
    waiting_max: int
    counts: Counter[str]
    _readers: dict[tuple[str, str], Any] = field(default_factory=dict)

    def serve(self, networks: Iterable[LoadedNetwork], slot: int, unix_s: float) -> None:
        """Serve what can be served, before the slot is flown. Raises ``StoreError`` where the disk refuses."""
        paths = [path for folder in self.folders for path in sorted(folder.glob(f"*{SUFFIX}"))]
        packages = [network.package for network in networks]
        for number, path in enumerate(paths):
            try:
                if number >= self.waiting_max:
                    raise MissionError(f"more than {self.waiting_max} requests wait. Send fewer.")
                self._serve(path, packages, slot, unix_s)
            except MissionError as error:  # noqa: PERF203  each request on its own
                self._refuse(path, str(error))
            except OSError as error:
                raise StoreError(f"{path} cannot be taken: {error.strerror}. Check the folder's owner.") from error

    def _serve(self, path: Path, packages: Sequence[ModelPackage], slot: int, unix_s: float) -> None:
        with path.open("rb") as file:
            request = UplinkRequest.decode(file.read(MOST_BYTE + 1))
        if request.until_unix_s is not None and unix_s > request.until_unix_s:
            raise MissionError(f"{request.request_id:.40}: nobody waits for the answer any more.")
        package = next((one for one in packages if can_serve(one, request.kind)), None)
        if package is None:
            why = f"no network aboard can {request.kind}"
            self.store.add_products([_answer(request, None, slot, unix_s, f"refused: {why}")])
            raise MissionError(f"{request.request_id:.40}: {why}.")
        index = self.indexes.of(package)
        if not len(index):
            return
        try:
            answer = (self._search if request.kind == "search" else self._ask)(request, package, index, slot)
        except (MissionError, EngineError) as error:
            answer = _answer(request, package, slot, unix_s, f"refused: {error}")
            self.counts["refused_request"] += 1
            self.told(f"request {request.request_id:.40} is refused: {error}")
        else:
            self.counts["served_request"] += 1
            log.info("request %.40s served: %s", request.request_id, answer.label)
        self.store.add_products([answer])
        path.unlink()

    def _search(self, request: UplinkRequest, package: ModelPackage, index: TextIndex, slot: int) -> Product:
        searcher = self._reader(package, "search", Searcher.open)
        hits, raised = serve_search(request, searcher, index, self.store.pending(PENDING))
        gained = self.store.raise_values(raised)
        if not hits:
            return _answer(request, package, slot, 0.0, "no tile found")
        best = hits[0]
        words = f"{len(hits)} tiles found, {gained} products gain"
        answer = _answer(request, package, slot, best.captured_unix_s, words)
        ref = best.ref
        return replace(
            answer,
            score=float(np.clip(best.cosine, 0.0, 1.0)),
            frame_id=ref.frame_id,
            row_px=ref.row_px,
            col_px=ref.col_px,
            edge_px=ref.edge_px,
        )

    def _ask(self, request: UplinkRequest, package: ModelPackage, index: TextIndex, slot: int) -> Product:
        asker = self._reader(package, "ask", Asker.open)
        _, product = serve_ask(request, asker, index, slot=slot)
        if product is None:
            return _answer(request, package, slot, 0.0, "no tile seen")
        return replace(product, kind="answer", label=_label(request, product.label))

    def _reader(self, package: ModelPackage, kind: str, opened: Callable[[ModelPackage], Any]) -> Any:
        key = kind, package.sha256
        if key not in self._readers:
            self._readers = {old: one for old, one in self._readers.items() if old[0] != kind}
            self._readers[key] = opened(package)
        return self._readers[key]

    def _refuse(self, path: Path, why: str) -> None:
        self.counts["refused_request"] += 1
        self.told(f"{path.name}: {why}")
        path.unlink(missing_ok=True)


def can_serve(package: ModelPackage, kind: str) -> bool:
    """Whether a package serves requests of ``kind``."""
    return package.info.output.kind == "embedding" and COMPANION[kind] in package.sums


def _label(request: UplinkRequest, words: str) -> str:
    return f"{request.request_id[:40]}: {words[:300]}"


def _answer(request: UplinkRequest, package: ModelPackage | None, slot: int, unix_s: float, words: str) -> Product:
    """An answer that is about no tile."""
    text = f"{request.request_id}\n{request.kind}\n{request.text}\n{slot}"
    return Product(
        product_id=hashlib.sha256(text.encode()).hexdigest()[:16],
        slot=slot,
        kind="answer",
        label=_label(request, words),
        score=0.0,
        value=request.worth,
        footprint=None,
        captured_unix_s=unix_s,
        frame_id="request",
        row_px=0,
        col_px=0,
        edge_px=0,
        package_id="" if package is None else package.info.id,
        package_sha256="" if package is None else package.sha256,
    )
