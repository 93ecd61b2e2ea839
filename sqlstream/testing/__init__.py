"""What holds a connector to its contract, for tests of those that other packages bring."""
