from typing import Literal

from shardproxy.shm.words import Words

class Lease:
    """A machine's part of a limit that several share: `left` and `until` are slots of words, `asked` of a counter.

    `on_failure` is what holds while the store does not answer; `retry_ns` is what refused clients are told. Raises
    `IndexError` for a word that is not there.
    """

    def __init__(
        self,
        words: Words,
        left: int,
        until: int,
        asked: int,
        on_failure: Literal["local", "open", "closed"],
        retry_ns: int,
    ) -> None: ...
