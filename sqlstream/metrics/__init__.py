"""What is counted of a job, under Flink's names, and the endpoint that Prometheus reads it from."""
