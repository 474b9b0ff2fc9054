"""The file of archived events: one stream, consecutive events, readable with common tools.

The file is text, a JSON value a line, compressed by gzip:

    {"format": "trueup journal archive", "version": 1, "stream": ..., "first": 1, "before": hash}
    [position, batch, at_ns, kind, payload, intent_id, hash]        for each event
    {"last": 3000, "hash": hash}

Each event has its own hash of the chain, so the file proves itself from `before` on. The journal
keeps the last hash and the SHA-256 of the whole file.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trueup.errors import JournalError, reason
from trueup.filelock import BINARY
from trueup.journal.journal import Tip
from trueup.journal.rows.chain import BrokenChain, Prover, Row
from trueup.private import FILE_MODE

FORMAT, VERSION = "trueup journal archive", 1
_BAD = (EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError)


class ArchiveWriter:
    """Writes the events of a stream into a new file, which is private to this user.

    Raises:
        OSError: the file cannot be made or written; so do the methods.
    """

    def __init__(self, path: Path, stream: str, start: Tip) -> None:
        self.tip: Tip = start
        # A file of this name is left from an attempt that a crash ended.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | BINARY, FILE_MODE)
        self._raw = os.fdopen(handle, "wb")
        # Without a time and a name in it the same events give the same file.
        self._file = gzip.GzipFile("", "wb", fileobj=self._raw, mtime=0)
        head = {"format": FORMAT, "version": VERSION, "stream": stream}
        self._line({**head, "first": start.position + 1, "before": start.hash.hex()})

    def write(self, row: Row) -> None:
        """Write the next event.

        Raises:
            JournalError: the payload is no text.
        """
        try:
            payload = row.payload.decode()
        except UnicodeDecodeError as error:
            raise JournalError(f"The event at position {row.position} is no text.") from error
        self._line([*row[:4], payload, row.intent_id, row.hash.hex()])
        self.tip = Tip(row.position, row.hash)

    def finish(self) -> None:
        """Write the end, and wait until the file is on the disk."""
        self._line({"last": self.tip.position, "hash": self.tip.hash.hex()})
        self._file.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()

    def abandon(self) -> None:
        """Close the file, whatever is in it; closing a finished file does no harm."""
        for file in (self._file, self._raw):
            with contextlib.suppress(OSError, ValueError):
                file.close()

    def _line(self, value: Any) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


class ArchiveFile:
    """A file of archived events, open for reading; `start` is the chain before its first event.

    Raises:
        JournalError: the file cannot be read, is no archive, or was written by a newer trueup.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = gzip.GzipFile(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            head = self._head()
            self.stream = str(head["stream"])
            self.start: Tip = Tip(int(head["first"]) - 1, bytes.fromhex(head["before"]))
        except OSError as error:
            raise self._failed(error) from error
        except _BAD as error:
            raise self._damaged("its first line cannot be read") from error

    def rows(self) -> Iterator[Row]:
        """Yield the events, each proven by its hash, in whole transactions.

        Raises:
            JournalError: the file is damaged or was altered; the rows yielded before are proven.
        """
        prover = Prover(self.stream, self.start)
        try:
            for line in self._file:
                value = json.loads(line)
                if isinstance(value, dict):
                    prover.finish(int(value["last"]))
                    if prover.tip != Tip(value["last"], bytes.fromhex(value["hash"])):
                        raise ValueError(line)
                    return
                yield from prover.take(_row(*value)) or ()
        except BrokenChain as broken:
            raise self._damaged(broken.because) from broken
        except (*_BAD, OSError) as error:
            position = prover.tip.position
            raise self._damaged(f"what follows position {position} cannot be read") from error
        raise self._damaged(f"it ends after position {prover.tip.position}")

    def prove(self) -> tuple[Tip, int]:
        """Return the end of the chain in the file, and the latest time of its events (ns).

        Raises:
            JournalError: the file is damaged or was altered.
        """
        tip, newest_ns = self.start, 0
        for row in self.rows():
            tip, newest_ns = Tip(row.position, row.hash), max(newest_ns, row.at_ns)
        return tip, newest_ns

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> ArchiveFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _head(self) -> dict[str, Any]:
        head = json.loads(self._file.readline())
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise ValueError(head)
        if int(head["version"]) > VERSION:
            self.close()
            raise JournalError(
                f"{self.path} was written by a newer trueup (archive format {head['version']}; "
                f"this one knows {VERSION}). Use that release, or a newer one; nothing was changed."
            )
        return head

    def _failed(self, error: OSError) -> JournalError:
        self.close()
        # BadGzipFile is an OSError: the file could be read, and is something else.
        if isinstance(error, gzip.BadGzipFile):
            return self._damaged("it is no gzip file")
        return _unreadable(self.path, error)

    def _damaged(self, because: str) -> JournalError:
        self.close()
        return JournalError(f"{self.path} is no archive of a journal, or is damaged: {because}.")


def _row(
    position: int,
    batch: int,
    at_ns: int,
    kind: str,
    payload: str,
    intent_id: str | None,
    hashed: str,
) -> Row:
    return Row(position, batch, at_ns, kind, payload.encode(), intent_id, bytes.fromhex(hashed))


def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a file.

    Raises:
        JournalError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"The archive {path} cannot be read: {reason(error).lower()}.")
