"""The command line: see a cache in a terminal before any backend exists."""
