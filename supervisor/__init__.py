"""Process care: the supervisor and what it looks after.

The folder stands at the top of the repository and is the package ``shardproxy.supervisor`` through a
symbolic link.  Under any other name it could hide Supervisord's package, so it refuses to be one.
"""

if __name__ != "shardproxy.supervisor":
    raise ImportError(f"import shardproxy.supervisor, not {__name__}")
