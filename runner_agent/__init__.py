"""The daemon on each benchmark host: claims a job, runs it in isolation, watches it and reports."""
