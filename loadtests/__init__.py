"""Load: the comparison with other proxies (`compare`) and simulated users (`locustfile`)."""
