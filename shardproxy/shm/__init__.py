"""The memory all processes share: gauges, buckets, metrics and rows over one memfd. Floor 1; knows no HTTP."""
