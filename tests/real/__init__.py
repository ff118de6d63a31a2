"""The real parts that tests start: servers, a Collector, a Docker engine."""
