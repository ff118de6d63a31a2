pytest_plugins = ["tests.real.fixtures", "tests.real.packaged_servers", "tests.recording"]
