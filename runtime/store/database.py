"""A SQLite file that survives power cuts: write-ahead log, full synchronisation, versioned schema, useful errors.

Only features of SQLite 3.37 are used, which is what JetPack 6 carries.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError
from ..faults import fault

logger = logging.getLogger(__name__)
BUSY_S = 2.0
"""How long a commit waits for another process that holds the file."""
PAGE_BYTE = 4096

_ADVICE = (
    ("unique constraint failed: tiles", "A tile may end only once in a slot: do not report it twice."),
    ("file is not a database", "It was damaged or is no database: move it away, a new one is made at the next start."),
    ("malformed", "The file is damaged: move it away, a new one is made at the next start."),
    ("disk is full", "Free some space; nothing that was committed is lost and the slot can be committed again."),
    ("no space left", "Free some space; nothing that was committed is lost and the slot can be committed again."),
    ("readonly", "Make the file and its folder writable, or choose another folder."),
    ("unable to open", "Check that the folder exists and that you may write to it."),
    ("locked", "Another process is writing to it: stop that one, or choose another folder."),
    ("disk i/o error", "The disk reports an error: check it (dmesg), and choose a folder on another disk."),
    ("input/output error", "The disk reports an error: check it (dmesg), and choose a folder on another disk."),
)


def explain(path: Path, error: Exception) -> StoreError:
    """The one-line refusal for what SQLite or the system reported about ``path``."""
    text = str(error).lower()
    advice = next((advice for symptom, advice in _ADVICE if symptom in text), "See the SQLite message.")
    return StoreError(f"The store {path} failed: {error}. {advice}")


def open_database(
    path: Path, application_id: int, migrations: Sequence[str], *, checkpoint_page: int = 1000
) -> sqlite3.Connection:
    """Open ``path`` for writing and bring its schema forward; a new file gets all of ``migrations``.

    A commit that finds ``checkpoint_page`` pages in the log moves them into the file, and takes as long as that does.

    Raises StoreError where the file cannot be opened, belongs to something else, or was written by a newer version.
    """
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    except sqlite3.Error as error:
        raise explain(path, error) from error
    try:
        _check_owner(path, connection, application_id)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {4 << 20}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_page}")
        _migrate(path, connection, application_id, migrations)
    except (sqlite3.Error, OSError) as error:
        connection.close()
        raise explain(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_readonly(path: Path, application_id: int) -> sqlite3.Connection:
    """Open ``path`` without ever writing to it; works beside a writer, and in a folder that may not be written to."""
    if not path.is_file():
        raise StoreError(f"There is no store {path}. Give the folder of a replay or of a mission.")
    try:
        return _connect_readonly(path, "mode=ro", application_id)
    except sqlite3.Error as error:
        if path.with_name(path.name + "-wal").exists():
            raise explain(path, error) from error
    try:  # without a log and without leave to make one, the file itself is all there is
        return _connect_readonly(path, "mode=ro&immutable=1", application_id)
    except sqlite3.Error as error:
        raise explain(path, error) from error


def _connect_readonly(path: Path, options: str, application_id: int) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        _check_owner(path, connection, application_id)
    except BaseException:
        connection.close()
        raise
    return connection


class LogKeeper:
    """Empties a writer's log between its commits, and bounds it as far as readers let it.

    ``long_page``: from there on it waits for readers to end, ``patience_s`` at most.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, *, long_page: int = 4096, patience_s: float = 0.25
    ) -> None:
        self._path, self._db = path, connection
        self._long_page = self._told_page = long_page
        self._patience_s = patience_s

    def tidy(self) -> None:
        """Move what was committed from the log into the file. Raises StoreError.

        A long log waits for readers: those that overlap, each of them short, would else never let it start over
        (https://www.sqlite.org/wal.html, "Avoiding Excessively Large WAL Files"). One that stays keeps the log, and is
        told of each time that it has doubled.
        """
        try:
            log_page = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
            if log_page >= self._long_page and self._waits():
                self._tell(log_page)
        except sqlite3.Error as error:
            raise explain(self._path, error) from error

    def _waits(self) -> bool:
        """Empty the log once its readers are gone; whether they stayed."""
        self._db.execute(f"PRAGMA busy_timeout = {round(self._patience_s * 1000)}")
        try:
            return bool(self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")

    def _tell(self, log_page: int) -> None:
        if log_page >= self._told_page:
            self._told_page = 2 * log_page
            logger.warning(
                "The log of %s has grown to %d MB: a program holds an old state of the store open. End that program.",
                self._path,
                log_page * PAGE_BYTE // 1_000_000,
            )


@contextmanager
def transaction(path: Path, connection: sqlite3.Connection, before_fsync: str, after_fsync: str) -> Iterator[None]:
    """Everything within becomes durable together, or nothing; the two names are fault points around the commit."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        fault(before_fsync)
        connection.execute("COMMIT")
        fault(after_fsync)
    except (sqlite3.Error, OSError) as error:
        _roll_back(connection)
        raise explain(path, error) from error
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _check_owner(path: Path, connection: sqlite3.Connection, application_id: int) -> None:
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if found != application_id and (found or tables):
        raise StoreError(f"{path} is a database of another program (application id {found}). Choose another file.")


def _migrate(path: Path, connection: sqlite3.Connection, application_id: int, migrations: Sequence[str]) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise StoreError(
            f"{path} has schema {version}, and this version knows up to {len(migrations)}. "
            "Update subsolar, or choose another file."
        )
    if version == len(migrations):
        return
    fault("store.open.before_migration")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(connection.execute("PRAGMA user_version").fetchone()[0], len(migrations)):
            for statement in _statements(migrations[number]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
