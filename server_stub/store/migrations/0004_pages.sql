-- For those who look: how quiet each host was over time, and what ended lately.

-- A host's own calibration, whenever it says another one.
CREATE TABLE noise_floor (
    id {serial},
    runner_id BIGINT NOT NULL REFERENCES runner (id) ON DELETE CASCADE,
    at_ms BIGINT NOT NULL,
    value {float} NOT NULL
);
CREATE INDEX noise_floor_runner ON noise_floor (runner_id, at_ms);

CREATE INDEX job_ended ON job (ended_ms) WHERE ended_ms IS NOT NULL;
