from collections.abc import Sequence

Pieces = Sequence[bytes | str]

VARIABLES: tuple[str, ...]

class Edits:
    """Changes of fields. `set` and `add` are pairs of a name and its value's pieces: bytes, or one of `VARIABLES`."""

    def __init__(
        self,
        *,
        set: Sequence[tuple[bytes, Pieces]] = (),
        add: Sequence[tuple[bytes, Pieces]] = (),
        remove: Sequence[bytes] = (),
    ) -> None: ...
