from typing import final

@final
class Mapping:
    """`size` bytes of `fd` mapped MAP_SHARED, read and write, as a buffer.

    Unlike `mmap.mmap` it keeps no descriptor of its own: a child closes all descriptors that are not its own right
    after fork, and a number closed behind a library's back is later closed again when it belongs to somebody else.
    It is unmapped when the last view into it is gone, so no address in use can dangle. Raises `OSError`.
    """

    def __init__(self, fd: int, size: int) -> None: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
