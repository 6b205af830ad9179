"""The API server: takes runs, queues jobs, parses results, tests thresholds and raises alerts."""
