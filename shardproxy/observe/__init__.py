"""What the proxy tells about itself: the log here, records and metrics beside it."""
