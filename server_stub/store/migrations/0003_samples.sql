-- A sample is read from the index alone: it holds the values, and the spec that a sample may be limited to.
DROP INDEX metric_series;
CREATE INDEX metric_series ON metric
    (benchmark_id, measure_id, testbed_id, head_id, version_id DESC, start_s DESC, iteration DESC, id DESC, spec_id, value);
