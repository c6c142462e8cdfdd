"""What each operation of the data path costs in instructions: `python -m loadtests.micro`, or `make bench-micro`."""
