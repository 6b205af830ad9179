-- Runners, their keys and what they were last heard to say; jobs, their attempts, and what the attempts sent back.
-- Times ending in _ms are milliseconds since the epoch by the clock that leases live by.

CREATE TABLE runner (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    archived_ms BIGINT,
    -- A drained runner finishes what it holds and is handed nothing more.
    drained_ms BIGINT,
    drain_reason TEXT,
    -- The last machine that came with this runner's key while another one was alive, as JSON.
    rival TEXT
);

-- Only the SHA-256 of a key is kept. While one key replaces another, both are valid until the older expires.
CREATE TABLE runner_key (
    id {serial},
    runner_id BIGINT NOT NULL REFERENCES runner (id) ON DELETE CASCADE,
    sha256 {text_c} NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT
);
CREATE INDEX runner_key_runner ON runner_key (runner_id);

CREATE TABLE runner_spec (
    runner_id BIGINT NOT NULL REFERENCES runner (id) ON DELETE CASCADE,
    spec_id BIGINT NOT NULL REFERENCES spec (id),
    PRIMARY KEY (runner_id, spec_id)
);
CREATE INDEX runner_spec_spec ON runner_spec (spec_id);

-- Who speaks with a runner's key. Written in batches, never once a poll, so that 10,000 idle agents cost nothing.
CREATE TABLE runner_session (
    runner_id BIGINT PRIMARY KEY REFERENCES runner (id) ON DELETE CASCADE,
    seen_ms BIGINT NOT NULL,
    -- Instances that were replaced, as a JSON list.
    retired TEXT NOT NULL,
    -- AgentIdentity and HostState, as JSON.
    agent TEXT,
    state TEXT NOT NULL
);

CREATE TABLE job (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    organization_id BIGINT NOT NULL,
    report_id BIGINT NOT NULL UNIQUE REFERENCES report (id) ON DELETE CASCADE,
    spec_id BIGINT NOT NULL REFERENCES spec (id),
    priority INTEGER NOT NULL,
    source_ip {text_c} NOT NULL,
    timeout_s INTEGER NOT NULL,
    state {text_c} NOT NULL,
    -- Rises with each claim and fences every call about it.
    attempt INTEGER NOT NULL DEFAULT 0,
    -- Attempts that the infrastructure has cost so far.
    lost INTEGER NOT NULL DEFAULT 0,
    runner_id BIGINT REFERENCES runner (id),
    not_before_ms BIGINT NOT NULL,
    lease_until_ms BIGINT,
    deadline_ms BIGINT,
    cancel_ms BIGINT,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    claimed_ms BIGINT,
    started_ms BIGINT,
    ended_ms BIGINT,
    -- Which process parses a completed job, and until when it may take for that.
    processing_ms BIGINT NOT NULL DEFAULT 0,
    -- Progress and Fault, as JSON.
    progress TEXT,
    fault TEXT
);
-- The order of the queue, for each spec. Nothing that a heartbeat writes is indexed.
CREATE INDEX job_queue ON job (spec_id, priority DESC, created_ms, id) WHERE state = 'pending';
-- One runner holds one job: two polls that race with one key get one.
CREATE UNIQUE INDEX job_leased ON job (runner_id) WHERE state IN ('claimed', 'running');
CREATE INDEX job_unparsed ON job (id) WHERE state = 'completed';
CREATE INDEX job_of_project ON job (project_id, created_ms DESC, id DESC);
CREATE INDEX job_of_spec ON job (spec_id);

-- What was asked for: kept apart, so that renewing a lease rewrites a narrow row.
CREATE TABLE job_request (
    job_id BIGINT PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    -- Work, and the settings of the run (adapter, average, fold, backdate), as JSON.
    work TEXT NOT NULL,
    settings TEXT NOT NULL,
    -- Credentials for the pull; gone as soon as the job needs no more attempts.
    registry_auth TEXT
);

CREATE TABLE job_attempt (
    job_id BIGINT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    runner_id BIGINT NOT NULL REFERENCES runner (id),
    instance {text_c},
    claimed_ms BIGINT NOT NULL,
    confirmed_ms BIGINT,
    ended_ms BIGINT,
    -- How it ended: unconfirmed, lost, released, completed, failed, canceled.
    ending {text_c},
    fault TEXT,
    -- Of the report, so that sending it again gets the same answer.
    report_sha256 {text_c},
    receipt {text_c},
    PRIMARY KEY (job_id, attempt)
);
CREATE INDEX job_attempt_runner ON job_attempt (runner_id);

-- A RunReport, as zlib-compressed JSON.
CREATE TABLE job_output (
    job_id BIGINT PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    report {blob} NOT NULL,
    report_bytes BIGINT NOT NULL
);

CREATE TABLE report_piece (
    job_id BIGINT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    number INTEGER NOT NULL,
    body {blob} NOT NULL,
    body_bytes INTEGER NOT NULL,
    PRIMARY KEY (job_id, attempt, number)
);

-- One row that claims update where tiers are in force, so that they go one at a time.
CREATE TABLE queue_gate (passes BIGINT NOT NULL);
INSERT INTO queue_gate (passes) VALUES (0);
