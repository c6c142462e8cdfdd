"""Whether there is a place for the access logs, told before a worker fails to find it."""

from __future__ import annotations

from pathlib import Path

from shardproxy.config.schema import Config


def look_for(config: Config) -> None:
    """Raises `NotADirectoryError` with a plain sentence."""
    for index, listener in enumerate(config.listeners):
        if listener.access_log is not None:
            directory = Path(listener.access_log.path).absolute().parent
            if not directory.is_dir():
                raise NotADirectoryError(f"listeners[{index}].access_log: there is no directory {directory}")
