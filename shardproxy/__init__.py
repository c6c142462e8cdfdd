"""An L4/L7 proxy whose worker processes share one memory and behave as one."""
