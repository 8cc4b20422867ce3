"""Threads that verify the chunks of a file ahead of its reader."""

from __future__ import annotations

import itertools
import queue
import threading
from typing import Final

from safeload._storage.chunks import ChunkFile, cores
from safeload.errors import DigestMismatchError, StorageError

__all__ = [
    "ReadAhead",
]

_READ_AHEAD_MEMORY: Final = 16 << 20


_AHEAD_THREADS: Final = 3


class ReadAhead:
    """Threads that verify the chunks of a file in order, and a ring of buffers between them and the reader.

    Whoever has a buffer claims the next chunk: the threads, and the reader itself where it would only wait for them.
    """

    def __init__(self, file: ChunkFile, first: int) -> None:
        self._file = file
        self._next = first  # the chunk that is taken next
        self._claims = itertools.count(first)  # shared: its next() is one step for all threads
        self._stopped = False
        self._free: queue.SimpleQueue[bytearray | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[tuple[int, bytearray | Exception]] = queue.SimpleQueue()
        self._early: dict[int, bytearray | Exception] = {}  # what the reader was handed or verified before its turn
        buffers = max(1, min(2 * _AHEAD_THREADS + 1, _READ_AHEAD_MEMORY // file.chunk_size - 1))
        for _ in range(buffers):
            self._free.put(bytearray(min(file.size, file.chunk_size)))
        self._threads = [
            threading.Thread(target=self._run, name="safeload-read-ahead", daemon=True)
            for _ in range(max(1, min(_AHEAD_THREADS, cores() - 1, buffers // 2)))
        ]
        for thread in self._threads:
            thread.start()

    def take(self, index: int, used: bytearray) -> bytearray | None:
        """Return this chunk in exchange for a used buffer, or None if it is not the next one."""
        if index != self._next:
            return None
        self._free.put(used)
        while index not in self._early:
            try:
                early, made = self._ready.get_nowait()
            except queue.Empty:
                if self._verify_one():
                    continue
                try:
                    early, made = self._ready.get(timeout=1.0)
                except queue.Empty:
                    if not any(thread.is_alive() for thread in self._threads):  # as in a forked child
                        return None
                    continue
            self._early[early] = made
        chunk = self._early.pop(index)
        if isinstance(chunk, Exception):
            raise chunk
        self._next += 1
        return chunk

    def stop(self) -> None:
        """End the threads, and wait until they no longer use the blob."""
        self._stopped = True
        for _ in self._threads:
            self._free.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # where garbage is collected in that thread
                thread.join()

    def _verify_one(self) -> bool:
        """Verify the next chunk that nobody has claimed; tell whether there was one, and a buffer for it."""
        try:
            buffer = self._free.get_nowait()
        except queue.Empty:
            return False
        if buffer is None:
            return False
        index = next(self._claims)
        if index >= self._file.count:
            return False
        self._early[index] = self._load(index, buffer)
        return True

    def _run(self) -> None:
        while True:
            # First a buffer, then a chunk: what is claimed is on its way, so the reader never waits in vain.
            buffer = self._free.get()
            if buffer is None or self._stopped:
                return
            index = next(self._claims)
            if index >= self._file.count:
                return
            made = self._load(index, buffer)
            self._ready.put((index, made))
            if isinstance(made, Exception):
                return

    def _load(self, index: int, buffer: bytearray) -> bytearray | Exception:
        """Return this chunk, verified, or what is to be raised where it is read, if it ever is."""
        try:
            self._file.load(index, memoryview(buffer)[: self._file.length(index)])
        except (DigestMismatchError, StorageError, OSError, MemoryError) as error:
            return error
        return buffer
