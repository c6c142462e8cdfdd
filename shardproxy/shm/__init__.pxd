# The memory all processes share. Floor 1; knows no HTTP.
