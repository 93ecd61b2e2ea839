"""Tables of Delta Lake, by delta-rs (package deltalake): files are read and written here, and its log there."""
