"""Where bytes flow: client connections, exchanges, connections to endpoints. Floor 4."""
