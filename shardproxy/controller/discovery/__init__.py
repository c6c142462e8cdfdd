"""Where a cluster's endpoints come from while the proxy runs: operators, files, DNS; and how all workers get them."""
