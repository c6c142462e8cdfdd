from typing import Literal

def normalize(
    path: bytes,
    *,
    normalize: bool = False,
    merge_slashes: bool = False,
    escaped_slashes: Literal["keep", "reject", "unescape"] = "keep",
) -> bytes | None:
    """The path after the rules; None when they refuse it.

    Envoy's names: `normalize_path`, `merge_slashes`, `path_with_escaped_slashes_action`, in Envoy's order: escaped
    slashes first, then normalisation, then merging.
    """
