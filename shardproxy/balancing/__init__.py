"""Which endpoint gets the request: policies over counts that all processes share. Floor 2."""
