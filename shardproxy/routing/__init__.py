"""Which route takes a request. Floor 2."""
