"""`shardproxy demo`: origins, traffic and a screen around the same `shardproxy run` that a user starts. Floor 7."""
