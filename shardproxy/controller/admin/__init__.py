"""The admin interface: HTTP and JSON for operators, on the loopback unless the configuration says otherwise."""
