"""`python -m shardproxy`: the same as the `shardproxy` command."""

from shardproxy.cli import main

if __name__ == "__main__":
    main(prog_name="shardproxy")
