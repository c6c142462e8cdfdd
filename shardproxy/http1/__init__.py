"""The HTTP/1 codec, sans-IO and strict: it takes bytes and gives offsets and faults. Floor 1."""
