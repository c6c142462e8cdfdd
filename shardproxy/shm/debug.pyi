NAMES: tuple[str, ...]
IS_DEBUG: bool

def live_objects() -> dict[str, int]: ...
