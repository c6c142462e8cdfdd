"""What is admitted and what has to wait or go: rate limits over shared buckets. Floor 2."""
