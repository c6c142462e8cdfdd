from typing import Final

CLASSES: Final[tuple[str, ...]]
"""The words for who is served first: `high`, `normal`, `low`; a class is its position here."""
