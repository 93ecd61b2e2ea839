"""Tables of Apache Iceberg, by pyiceberg: files are read and written here, catalogs and metadata there."""
