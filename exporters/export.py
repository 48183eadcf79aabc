"""From a network to a signed package: fuse, round, trace, simplify, quantise, prove, profile, sign, in this order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import graph
from .checkpoint import RGB, Checkpoint
from .course_tiles import course_for, judge_of, zoo_checkpoint
from .datasets import Chips, read_chips, read_tiles
from .describing import describe_checkpoint, describe_foreign
from .engine_graphs import TENSORRT, Made, Request, make_graphs
from .errors import ExportError
from .export_proof import prove_export
from .golden import HALF_TOLERANCE, INT8_TOLERANCE, golden_index, golden_of
from .int8_gate import Judge
from .keys import key_id
from .lint import report
from .measure import profile_on_cpu, stated_accuracy
from .onnx_cpu import batch_for, inferrer, version
from .package import Golden, ModelPackage, further_files, load_package, npy, write_package
from .prove import MIN_TILES, prove
from .records import Accuracy, PackageInfo, Profile, ProfileEntry, Proof, Variant, check_envelope
from .sbom import sbom
from .settings import UNKNOWN, ExportSettings
from .source import companions_of, package_id, task_of, weights_sha256
from .stac import stac_item
from .stored_proof import proof_files
from .subject import Foreign, open_source, refuse_mix_up
from .tiles import Tiles

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VARIANT, VARIANT_EXPECTED, SBOM = "model.tensorrt.onnx", "golden/expected.tensorrt.npy", "sbom.json"
_NO_LICENCE = "The licence of these weights is unknown: nobody may pass them on. Give it with --licence if you know it."
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A proven float graph on its way to a package. ``answers``: of its source to the test tiles."""

    info: PackageInfo
    model: bytes
    proofs: tuple[Proof, ...]
    source_sha256: str
    answers: NDArray[np.float32]
    stated: Accuracy | None = None
    """What the course measured, where the test tiles have no labels."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Its companions."""
    notes: tuple[str, ...] = ()
    """For the profile."""
    judge: Judge | None = None


def export_network(
    name: str | None,
    source: Path | str,
    out: Path,
    dataset: Path,
    key: Ed25519PrivateKey | None,
    *,
    settings: ExportSettings | None = None,
    replace_existing: bool = False,
    progress: Progress = lambda line: None,
    edge_px: int = 64,
    course: Mapping[str, Any] | None = None,
    **given: Any,
) -> ModelPackage:
    """Export what ``source`` names as the package folder ``out``, proven on the test chips of ``dataset``.

    ``source`` and ``given`` are those of ``subject.open_source``. ``name`` guards against a mix-up: it must be the
    network of a checkpoint (None: take its word), and says of what a bare state dict is. INT8 takes its ranges from
    the train chips. A folder without classes.txt is cut into unlabelled tiles of ``edge_px``. Where the network has a
    deploy function, its course reads the tiles, with the settings it was trained with and over them ``course``.
    Raises CheckpointError, DatasetError, ExportError (no proof) or PackageError; nothing is written then.
    """
    settings = settings or ExportSettings()
    refuse_mix_up(str(source), name)
    int8 = settings.precision == "int8"
    judge: Judge | None = None
    taught = zoo_checkpoint(str(source))
    if taught is not None:
        shown = course_for(taught, dataset, **dict(course or {}))
        subject: Checkpoint | Foreign = taught
        test: Chips | Tiles = shown.tiles("test")
        calibration: Chips | Tiles | None = shown.tiles("train") if int8 else None
        judge = judge_of(shown)
    else:
        test = _read(dataset, "test", edge_px, settings)
        subject = open_source(str(source), test, network=name, **given)
        calibration = _read(dataset, "train", edge_px, settings) if int8 else None
    told: dict[str, Any] = {
        "settings": settings,
        "calibration": calibration,
        "replace_existing": replace_existing,
        "progress": progress,
    }
    if isinstance(subject, Foreign):
        return export_foreign(subject, test, out, key, **told)
    return export_checkpoint(subject, test, out, key, judge=judge, **told)


def export_checkpoint(
    checkpoint: Checkpoint,
    test: Chips | Tiles,
    out: Path,
    key: Ed25519PrivateKey | None,
    *,
    settings: ExportSettings | None = None,
    calibration: Chips | Tiles | None = None,
    companions: Mapping[Any, bytes] | None = None,
    judge: Judge | None = None,
    replace_existing: bool = False,
    progress: Progress = lambda line: None,
) -> ModelPackage:
    """Export weights that are in memory, proven on ``test``; see ``export_network``.

    Without labels, fewer tiles than ``settings.proof_tiles`` prove it too, and the profile says so; the accuracy is
    then the course's own, from its test data; ``judge`` measures it for an INT8 graph, and decides. ``companions``:
    further files by name or ``Companion``, beside those that the network's own ``companions`` function makes.
    """
    settings = (settings or ExportSettings()).resolved(checkpoint)
    labelled = _has_labels(test)
    if not labelled:
        settings = replace(settings, proof_tiles=min(settings.proof_tiles, len(test)))
    _check_fit(checkpoint, test, settings)
    proven = prove_export(checkpoint, test, settings, progress)
    settings, source, answers = proven.settings, proven.source, proven.answers
    name, task = package_id(checkpoint, settings), task_of(checkpoint)
    info = describe_checkpoint(checkpoint, name, settings, proven.output, task, source)
    more = further_files({**companions_of(checkpoint), **dict(companions or {})})
    info = replace(info, companions=tuple(more))
    files = {companion.file: content for companion, content in more.items()}
    stated = None if labelled else stated_accuracy(checkpoint, info)
    digest = weights_sha256(checkpoint)
    draft = Draft(info, proven.model, proven.proofs, digest, answers, stated, files, proven.notes, judge)
    return _finish(draft, test, calibration, settings, progress).write(out, key, replace_existing)


def export_foreign(
    subject: Foreign,
    test: Chips | Tiles,
    out: Path,
    key: Ed25519PrivateKey | None,
    *,
    settings: ExportSettings | None = None,
    calibration: Chips | Tiles | None = None,
    replace_existing: bool = False,
    progress: Progress = lambda line: None,
) -> ModelPackage:
    """Make a package around somebody else's graph; the source of its proof is the graph as it came."""
    settings = (settings or ExportSettings()).resolved()
    batch = min(batch_for(test.pixels.shape), subject.max_batch)
    progress("1/6 simplifying")
    answers = inferrer(subject.model.SerializeToString(), batch=batch)(test.pixels)
    info = describe_foreign(subject, settings.id or subject.name, settings)
    properties = {"id": info.id, "version": str(info.version), "source_sha256": subject.sha256, "licence": info.licence}
    model = graph.serialise(graph.with_metadata(graph.simplify(subject.model), properties))
    progress(f"2/6 proving on {len(test)} tiles")
    proof = prove(
        answers,
        inferrer(model, batch=batch)(test.pixels),
        names=("the graph as it came", f"onnxruntime {version()} cpu"),
        min_tiles=settings.proof_tiles,
        kind=subject.kind,
    )
    draft = Draft(info, model, (proof,), subject.sha256, answers)
    return _finish(draft, test, calibration, settings, progress).write(out, key, replace_existing)


@dataclass(frozen=True, slots=True, eq=False)
class _Finished:
    onnx: bytes
    info: PackageInfo
    profile: Profile
    golden: Golden
    more: dict[str, bytes]

    def write(self, out: Path, key: Ed25519PrivateKey | None, replace_existing: bool) -> ModelPackage:
        write_package(
            out,
            onnx=self.onnx,
            info=self.info,
            profile=self.profile,
            golden=self.golden,
            key=key,
            replace=replace_existing,
            more=self.more,
        )
        trust = {} if key is None else {key_id(key.public_key()): key.public_key()}
        return load_package(out, trust=trust, allow_unsigned=key is None)


def _finish(
    draft: Draft, test: Chips | Tiles, calibration: Chips | Tiles | None, settings: ExportSettings, progress: Progress
) -> _Finished:
    progress("3/6 making the graph of each engine")
    request = Request(
        info=draft.info,
        precision=settings.precision,
        targets=settings.targets,
        min_tiles=settings.proof_tiles,
        calibration_tiles=settings.calibration_tiles,
        max_damage=settings.max_damage,
        methods=settings.calibration_methods,
        stated=draft.stated,
        judge=draft.judge,
    )
    if draft.info.licence == UNKNOWN:
        progress(_NO_LICENCE)
    made = make_graphs(draft.model, request, test, calibration, progress)
    progress(f"4/6 measuring time ({100 * made.accuracy.value:.1f} % {made.accuracy.metric})")
    entries, notes = _profile(draft, made, test, settings, progress)
    licence = (_NO_LICENCE,) if draft.info.licence == UNKNOWN else ()
    notes = (*draft.notes, *notes, *made.notes, *_about_tiles(test, draft), *licence)
    profile = Profile(accuracy=made.accuracy, measurements=entries, notes=notes)
    check_envelope(profile)
    progress("5/6 checking TensorRT's rules, choosing golden tiles")
    draft = replace(draft, info=replace(draft.info, proofs=(*draft.proofs, *made.proofs)))
    answers = draft.answers
    if settings.precision == "int8":  # its own certainty counts
        answers = inferrer(made.main, batch=min(batch_for(test.pixels.shape), draft.info.input.max_batch))(test.pixels)
    index = golden_index(answers, test, draft.info, settings)
    golden = golden_of(made.main, test, index, draft.info, settings)
    variants, more = _variant(made, golden, draft.info, settings)
    info = replace(
        draft.info,
        precision="int8" if settings.precision == "int8" else draft.info.precision,
        quantisation=made.how,
        variants=variants,
        golden_index=tuple(int(place) for place in index),
        tensorrt=report(made.main, "model.onnx") if made.variant is None else report(made.variant, VARIANT),
    )
    info = replace(info, stac=stac_item(info, made.accuracy, framework_version=info.created_by["onnx"]))
    bill = sbom(
        info.id,
        info.version,
        files={"model.onnx": made.main, **({} if made.variant is None else {VARIANT: made.variant})},
        source_sha256=draft.source_sha256,
        training_data=info.training_data,
        licence=info.licence,
    )
    progress("6/6 writing")
    files = {**draft.files, **more, **proof_files(draft.answers, test), SBOM: bill}
    return _Finished(made.main, info, profile, golden, files)


def _has_labels(test: Chips | Tiles) -> bool:
    """Whether each tile has a class: a detector's tiles come with class names, and boxes elsewhere."""
    return bool(test.classes) and int(test.labels.min()) >= 0


def _about_tiles(test: Chips | Tiles, draft: Draft) -> tuple[str, ...]:
    """What a reader of the profile should know of its proof and of its accuracy."""
    few = f"Proven on {len(test)} real tiles: there were no more. {MIN_TILES} are usual."
    notes = (few,) if len(test) < MIN_TILES and not _has_labels(test) else ()
    figures = draft.info.training.get("test")
    if draft.stated is None or not figures:
        return notes
    return (*notes, "On the course's test data: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))


def _profile(
    draft: Draft, made: Made, test: Chips | Tiles, settings: ExportSettings, progress: Progress
) -> tuple[tuple[ProfileEntry, ...], tuple[str, ...]]:
    """Times of the graph that ships; for INT8 also, in the same run, how it stands against the float graph."""
    most = draft.info.input.max_batch
    batches = tuple(batch for batch in settings.batches if batch <= most) or (most,)

    def measure(content: bytes, precision: str, sizes: Sequence[int]) -> tuple[ProfileEntry, ...]:
        return profile_on_cpu(
            content,
            test.pixels,
            precision=precision,
            batches=sizes,
            repeats=settings.repeats,
            active_power_w=settings.active_power_w,
            progress=progress,
        )

    if settings.precision != "int8":
        return measure(made.main, draft.info.precision, batches), ()
    middle = batches[len(batches) // 2]
    (plain,) = measure(draft.model, "float32", (middle,))
    entries = measure(made.main, "int8", batches)
    speed = plain.tile_s / next(entry for entry in entries if entry.batch == middle).tile_s
    word = "faster" if speed >= 1.0 else "slower"
    return entries, (f"INT8 is {word} than float32 on this CPU: {speed:.2f} times its speed at batch {middle}.",)


def _variant(
    made: Made, golden: Golden, info: PackageInfo, settings: ExportSettings
) -> tuple[tuple[Variant, ...], dict[str, bytes]]:
    if made.variant is None or made.variant_accuracy is None:
        return (), {}
    expected = inferrer(made.variant, batch=min(batch_for(golden.tiles.shape), info.input.max_batch))(golden.tiles)
    int8 = settings.precision == "int8"
    variant = Variant(
        engine=TENSORRT,
        file=VARIANT,
        expected_file=VARIANT_EXPECTED,
        tolerance_abs=max(golden.tolerance_abs, INT8_TOLERANCE if int8 else HALF_TOLERANCE),
        precision="int8" if int8 else "float16",
        accuracy=made.variant_accuracy,
    )
    return (variant,), {VARIANT: made.variant, VARIANT_EXPECTED: npy(expected)}


def _read(dataset: Path, split: str, edge_px: int, settings: ExportSettings) -> Chips:
    if (dataset / "classes.txt").is_file():
        return read_chips(dataset, split)
    return read_tiles(dataset, split, edge_px=edge_px, bands=len(settings.bands or RGB))


def _check_fit(checkpoint: Checkpoint, test: Chips | Tiles, settings: ExportSettings) -> None:
    if test.classes and checkpoint.kind == "probabilities" and test.classes != checkpoint.classes:
        raise ExportError(
            f"The test chips know {len(test.classes)} classes {test.classes}, the checkpoint "
            f"{len(checkpoint.classes)} {checkpoint.classes}. Use the data set it was trained on."
        )
    shape = (len(checkpoint.mean), checkpoint.edge_px, checkpoint.edge_px)
    fits = test.pixels.shape[1:] == shape and test.pixels.dtype == checkpoint.dtype
    if not fits or len(settings.bands) != shape[0]:
        raise ExportError(
            f"The test chips are {test.pixels.shape[1:]} of {test.pixels.dtype} with bands {settings.bands}, the "
            f"checkpoint needs {shape} of {checkpoint.dtype}. Use chips of that size and name its bands."
        )
