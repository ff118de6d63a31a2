pytest_plugins = ["tests.real.fixtures", "tests.recording"]
