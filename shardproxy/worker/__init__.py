"""A worker process: it accepts, serves, drains. Floor 5."""
