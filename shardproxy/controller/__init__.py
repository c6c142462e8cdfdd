"""The controller process: what one process does for all workers. Floor 5."""
