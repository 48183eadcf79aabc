"""Packages in two slots each, beside the one that the craft was launched with.

A new package is unpacked and verified beside its slot, takes the slot that is not in use, and flies on trial: health
over a window of slots commits it, anything else brings back the one before, whose files were never touched. What may
not be undone (the highest version ever committed) only grows, and survives reboots.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from exporters.archive import unpack
from exporters.errors import PackageError
from exporters.package import ModelPackage, folder_in_one_step, load_package

from ..durable import sync_folder
from ..errors import StoreError
from ..faults import fault
from .files import read_state, write_state
from .keyring import Keyring

SCHEMA = 1
LAUNCHED = "launched"
NAMES = ("a", "b")
MAX_PACKAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A package that has to prove itself."""

    slot: str
    left_slots: int
    """Slots with work that it still has to fly in good health."""
    boots: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One package id: which slot flies, what each holds (version, by slot name), and what may not be undone."""

    active: str = LAUNCHED
    before: str = LAUNCHED
    """Where a rollback goes."""
    versions: Mapping[str, int]
    highest: int = 0
    trial: Trial | None = None
    refused: str = ""
    """Why the last trial ended in a rollback."""

    @property
    def flying(self) -> str:
        """The slot whose package runs: the one on trial, else the active one."""
        return self.trial.slot if self.trial is not None else self.active


class ModelSlots:
    """The packages of a mission. Raises ``PackageError`` for packages, ``StoreError`` for disks."""

    def __init__(self, folder: Path, launched: Path, keyring: Keyring, max_power_w: float | None = 60.0) -> None:
        self._folder = folder
        self._launched = launched
        self._max_power_w = max_power_w
        self.keyring = keyring
        self._file = folder / "state.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} cannot be made: {error.strerror}. Check the folder's owner.") from error
        self._table = {name: _installed(entry) for name, entry in read_state(self._file).get("packages", {}).items()}
        self._sweep()

    def installed(self) -> dict[str, Installed]:
        """Return what is known of each package id."""
        return dict(self._table)

    def of(self, package_id: str) -> Installed:
        """Return what is known of one id."""
        return self._table.get(package_id) or Installed(versions={})

    def path(self, package_id: str, slot: str) -> Path:
        """Return the folder of a package."""
        return self._launched / package_id if slot == LAUNCHED else self._folder / package_id / slot

    def load(self, package_id: str, slot: str | None = None) -> ModelPackage:
        """Verify and read the package that flies, or that of a slot."""
        path = self.path(package_id, slot or self.of(package_id).flying)
        return load_package(path, trust=self.keyring.keys(), max_power_w=self._max_power_w)

    def untrusted(self, package_ids: Iterable[str], keys: Mapping[str, Ed25519PublicKey]) -> list[str]:
        """Return those whose package could not be loaded any more if ``keys`` were in force.

        Of one that is on trial, the package that it would be rolled back to counts.
        """
        lost = []
        for package_id in package_ids:
            path = self.path(package_id, self.of(package_id).active)
            try:
                load_package(path, trust=keys, max_power_w=self._max_power_w)
            except PackageError:
                lost.append(package_id)
        return lost

    def install(self, source: Path, trial_slots: int, flown: Collection[str] = ()) -> ModelPackage:
        """Verify a package, file or folder, put it into the slot that is free, and put it on trial.

        Nothing changes unless everything holds: plain files inside, a trusted signature, every hash, a profile that
        can be true, an id that the mission flies (``flown``; nothing: any that was launched), a version above every one
        that was ever committed.
        """
        stage = self._folder / ".stage"
        shutil.rmtree(stage, ignore_errors=True)
        try:
            package = self._unpacked(source, stage)
            have = self._checked(package, flown)
            free = next(name for name in NAMES if name != have.active)
            target = self.path(package.info.id, free)
            self._place(stage, target)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        versions = {**have.versions, free: package.info.version}
        trial = Trial(slot=free, left_slots=trial_slots)
        entry = replace(have, versions=versions, before=have.active, trial=trial, refused="")
        self._put(package.info.id, entry)
        return self.load(package.info.id)

    def activate(self, package_id: str, slot: str, trial_slots: int) -> None:
        """Fly another slot on trial: also the way back to an older package that is still aboard, on purpose."""
        have = self.of(package_id)
        if slot != LAUNCHED and slot not in have.versions:
            full = ", ".join([*sorted(have.versions), LAUNCHED])
            raise PackageError(f"Slot {slot} of {package_id} is empty. Use one that is not: {full}.")
        self.load(package_id, slot)
        self._put(package_id, replace(have, before=have.active, trial=Trial(slot=slot, left_slots=trial_slots)))

    def rollback(self, package_id: str, why: str) -> None:
        """End a trial, or leave the active package, for the one before."""
        have = self.of(package_id)
        if have.trial is not None:
            self._put(package_id, replace(have, trial=None, refused=why))
            return
        if have.before == have.active:
            raise PackageError(f"{package_id} has nothing to go back to: it flies {have.active}.")
        self.load(package_id, have.before)
        self._put(package_id, replace(have, active=have.before, before=have.active, refused=why))

    def worked(self, package_id: str) -> bool:
        """Count a slot in which the package on trial worked in good health; true once that commits it."""
        have = self.of(package_id)
        if have.trial is None:
            return False
        left = have.trial.left_slots - 1
        if left > 0:
            self._put(package_id, replace(have, trial=replace(have.trial, left_slots=left)))
            return False
        highest = max(have.highest, self._version(package_id, have, have.trial.slot))
        active, before = have.trial.slot, have.active
        self._put(package_id, replace(have, active=active, before=before, trial=None, highest=highest, refused=""))
        return True

    def boot(self, boots_max: int) -> list[str]:
        """Count a start; give up trials that have had too many, and return their ids."""
        given_up = []
        for package_id, have in self.installed().items():
            if have.trial is None:
                continue
            boots = have.trial.boots + 1
            if boots > boots_max:
                self.rollback(package_id, f"its trial took more than {boots_max} starts")
                given_up.append(package_id)
            else:
                self._put(package_id, replace(have, trial=replace(have.trial, boots=boots)))
        return given_up

    def _version(self, package_id: str, have: Installed, slot: str) -> int:
        """Return the version that a slot really holds; what is noted of it where it is damaged."""
        try:
            return self.load(package_id, slot).info.version
        except PackageError:
            return have.versions.get(slot, 0)

    def _unpacked(self, source: Path, stage: Path) -> ModelPackage:
        trust = self.keyring.keys()
        if not source.is_dir():
            return unpack(source, stage, trust=trust, max_power_w=self._max_power_w)
        package = load_package(source, trust=trust, max_power_w=self._max_power_w)
        with folder_in_one_step(stage, replace=False) as partial:
            shutil.copytree(source, partial, dirs_exist_ok=True)
        return load_package(stage, trust=trust, max_power_w=self._max_power_w) if package else package

    def _checked(self, package: ModelPackage, flown: Collection[str]) -> Installed:
        info = package.info
        if "/" in info.id or info.id.startswith(".") or info.id in ("", "..") or len(info.id) > 100:
            raise PackageError(f"{info.id!r:.80} is no name for a package. Export it under another one.")
        if flown and info.id not in flown:
            raise PackageError(f"No network of this mission is called {info.id}. Add it to the pool first.")
        have = self.of(info.id)
        if info.id not in self._table and not self.path(info.id, LAUNCHED).is_dir():
            raise PackageError(f"No network of this mission is called {info.id}. Add it to the pool first.")
        if len(self._table) >= MAX_PACKAGES and info.id not in self._table:
            raise PackageError(f"{MAX_PACKAGES} packages are known, no more are taken. Remove one.")
        floor = max(have.highest, self._version(info.id, have, LAUNCHED), self._version(info.id, have, have.active))
        if info.version <= floor:
            raise PackageError(
                f"{info.id} v{info.version} is not newer than v{floor}. Older packages are refused; export it with a "
                "higher version, or go back on purpose with: subsolar models rollback."
            )
        return have

    def _place(self, stage: Path, target: Path) -> None:
        """Move a verified package into a slot that nothing flies."""
        fault("models.stage.before_rename")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            stage.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            raise StoreError(f"{target} cannot be written: {error.strerror}. What flies goes on flying.") from error
        fault("models.stage.after_rename")

    def _put(self, package_id: str, entry: Installed) -> None:
        table = {**self._table, package_id: entry}
        packages = {name: asdict(one) for name, one in table.items()}
        write_state(self._file, {"schema": SCHEMA, "packages": packages})
        self._table = table

    def _sweep(self) -> None:
        """Remove what an interrupted install has left."""
        for path in self._folder.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def _installed(entry: Any) -> Installed:
    try:
        trial = entry["trial"]
        return Installed(
            active=str(entry["active"]),
            before=str(entry["before"]),
            versions={str(name): int(version) for name, version in entry["versions"].items()},
            highest=int(entry["highest"]),
            trial=None if trial is None else Trial(**trial),
            refused=str(entry["refused"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"the state of the packages is damaged ({error}). Restore it, or move it away.") from error
