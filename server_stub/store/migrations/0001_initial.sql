-- Who there is, what was measured, and what is held against it.
-- Times ending in _ms are milliseconds since the epoch; start_s and end_s are whole seconds, as the API shows them.

CREATE TABLE user_account (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL UNIQUE,
    email {text_c} NOT NULL UNIQUE,
    admin BOOLEAN NOT NULL,
    locked BOOLEAN NOT NULL,
    created_ms BIGINT NOT NULL
);

-- API tokens (signed, shaped like a JWT) and user keys. Only the SHA-256 of the whole credential is kept.
CREATE TABLE user_token (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    user_id BIGINT NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    name {text_c} NOT NULL,
    sha256 {text_c} NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);
CREATE INDEX user_token_user ON user_token (user_id);

-- What API tokens are signed with. Made once, by whoever needs it first.
CREATE TABLE server_secret (
    name {text_c} PRIMARY KEY,
    secret {blob} NOT NULL
);

-- An organization without members is unclaimed.
CREATE TABLE organization (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL
);

CREATE TABLE organization_member (
    organization_id BIGINT NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    role {text_c} NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);

CREATE TABLE project (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    organization_id BIGINT NOT NULL REFERENCES organization (id),
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL,
    url TEXT,
    visibility {text_c} NOT NULL,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    deleted_ms BIGINT
);
-- A deleted project frees its name and slug.
CREATE UNIQUE INDEX project_slug ON project (slug) WHERE deleted_ms IS NULL;
CREATE UNIQUE INDEX project_name ON project (organization_id, name) WHERE deleted_ms IS NULL;

CREATE TABLE project_member (
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    role {text_c} NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id)
);

CREATE TABLE project_key (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    name {text_c} NOT NULL,
    sha256 {text_c} NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);
CREATE INDEX project_key_project ON project_key (project_id);

-- A class of machine. At most one is the fallback for jobs that name none. Sizes are bytes.
CREATE TABLE spec (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL UNIQUE,
    os {text_c} NOT NULL,
    architecture {text_c} NOT NULL,
    sandbox TEXT,
    cpu INTEGER NOT NULL,
    memory BIGINT NOT NULL,
    disk BIGINT NOT NULL,
    network BOOLEAN NOT NULL,
    fallback_ms BIGINT,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    archived_ms BIGINT
);

CREATE TABLE branch (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL,
    -- The current head. No foreign key: the two refer to each other, and a head is never deleted before its branch.
    head_id BIGINT,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    archived_ms BIGINT,
    UNIQUE (project_id, name),
    UNIQUE (project_id, slug)
);

CREATE TABLE head (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    branch_id BIGINT NOT NULL REFERENCES branch (id) ON DELETE CASCADE,
    -- What it began from. Null again once that version is deleted.
    start_head_id BIGINT,
    start_version_id BIGINT,
    created_ms BIGINT NOT NULL,
    replaced_ms BIGINT
);
CREATE INDEX head_branch ON head (branch_id);
CREATE INDEX head_start ON head (start_version_id) WHERE start_version_id IS NOT NULL;

-- A commit as one head saw it. Within a head a later version has a greater id and a greater number.
CREATE TABLE version (
    id {serial},
    head_id BIGINT NOT NULL REFERENCES head (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    hash {text_c}
);
CREATE INDEX version_head ON version (head_id, id);
CREATE INDEX version_hash ON version (head_id, hash) WHERE hash IS NOT NULL;

-- The history of a head: ranges of version ids, each of the head that made them. Its own is position 0, open at the end;
-- what it took over from its start point follows, newest first. So taking history over copies no version and no metric.
CREATE TABLE head_lineage (
    head_id BIGINT NOT NULL REFERENCES head (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    origin_head_id BIGINT NOT NULL,
    first_version_id BIGINT NOT NULL,
    last_version_id BIGINT NOT NULL,
    PRIMARY KEY (head_id, position)
);
CREATE INDEX head_lineage_origin ON head_lineage (origin_head_id);

CREATE TABLE testbed (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL,
    spec_id BIGINT REFERENCES spec (id),
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    archived_ms BIGINT,
    UNIQUE (project_id, name),
    UNIQUE (project_id, slug)
);
CREATE INDEX testbed_spec ON testbed (spec_id) WHERE spec_id IS NOT NULL;

CREATE TABLE benchmark (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    archived_ms BIGINT,
    UNIQUE (project_id, name),
    UNIQUE (project_id, slug)
);

CREATE TABLE measure (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    name {text_c} NOT NULL,
    slug {text_c} NOT NULL,
    units {text_c} NOT NULL,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    archived_ms BIGINT,
    UNIQUE (project_id, name),
    UNIQUE (project_id, slug)
);

CREATE TABLE threshold (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    branch_id BIGINT NOT NULL REFERENCES branch (id) ON DELETE CASCADE,
    testbed_id BIGINT NOT NULL REFERENCES testbed (id) ON DELETE CASCADE,
    measure_id BIGINT NOT NULL REFERENCES measure (id) ON DELETE CASCADE,
    -- The current model; null where it was removed.
    model_id BIGINT,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    UNIQUE (branch_id, testbed_id, measure_id)
);
CREATE INDEX threshold_project ON threshold (project_id, created_ms);
CREATE INDEX threshold_testbed ON threshold (testbed_id);
CREATE INDEX threshold_measure ON threshold (measure_id);

-- A model never changes; another one replaces it.
CREATE TABLE model (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    threshold_id BIGINT NOT NULL REFERENCES threshold (id) ON DELETE CASCADE,
    test {text_c} NOT NULL,
    min_sample_size BIGINT,
    max_sample_size BIGINT,
    window_s BIGINT,
    lower_boundary {float},
    upper_boundary {float},
    created_ms BIGINT NOT NULL,
    replaced_ms BIGINT
);
CREATE INDEX model_threshold ON model (threshold_id);

CREATE TABLE report (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    user_id BIGINT REFERENCES user_account (id) ON DELETE SET NULL,
    head_id BIGINT NOT NULL REFERENCES head (id),
    version_id BIGINT NOT NULL REFERENCES version (id),
    testbed_id BIGINT NOT NULL REFERENCES testbed (id),
    -- Of a job's report: the class of machine it ran on.
    spec_id BIGINT REFERENCES spec (id),
    adapter {text_c} NOT NULL,
    idempotency_key {text_c},
    start_s BIGINT NOT NULL,
    end_s BIGINT NOT NULL,
    -- For each iteration how many benchmarks and measures it has, as a JSON list.
    counts TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX report_idempotency ON report (project_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX report_newest ON report (project_id, start_s, end_s, created_ms);
CREATE INDEX report_version ON report (version_id);
CREATE INDEX report_head ON report (head_id, testbed_id);
CREATE INDEX report_testbed ON report (testbed_id);
CREATE INDEX report_spec ON report (spec_id) WHERE spec_id IS NOT NULL;
CREATE INDEX report_user ON report (user_id) WHERE user_id IS NOT NULL;

-- One measured value and, where a threshold had a model, what it was held against. What stands in the report as well
-- (head, testbed, version, spec, start) is repeated here, so that one index finds the newest values of a series.
CREATE TABLE metric (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    report_id BIGINT NOT NULL REFERENCES report (id) ON DELETE CASCADE,
    iteration INTEGER NOT NULL,
    benchmark_id BIGINT NOT NULL REFERENCES benchmark (id),
    measure_id BIGINT NOT NULL REFERENCES measure (id),
    value {float} NOT NULL,
    lower_value {float},
    upper_value {float},
    model_id BIGINT,
    baseline {float},
    lower_limit {float},
    upper_limit {float},
    testbed_id BIGINT NOT NULL,
    head_id BIGINT NOT NULL,
    version_id BIGINT NOT NULL,
    spec_id BIGINT,
    start_s BIGINT NOT NULL
);
CREATE INDEX metric_report ON metric (report_id, iteration);
CREATE INDEX metric_series ON metric
    (benchmark_id, measure_id, testbed_id, head_id, version_id DESC, start_s DESC, iteration DESC, id DESC);

CREATE TABLE alert (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    report_id BIGINT NOT NULL REFERENCES report (id) ON DELETE CASCADE,
    metric_id BIGINT NOT NULL UNIQUE REFERENCES metric (id) ON DELETE CASCADE,
    boundary_limit {text_c} NOT NULL,
    status {text_c} NOT NULL,
    modified_ms BIGINT NOT NULL
);
CREATE INDEX alert_newest ON alert (project_id, status, modified_ms);
CREATE INDEX alert_report ON alert (report_id);

CREATE TABLE plot (
    id {serial},
    uuid {text_c} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    title TEXT,
    lower_value BOOLEAN NOT NULL,
    upper_value BOOLEAN NOT NULL,
    lower_boundary BOOLEAN NOT NULL,
    upper_boundary BOOLEAN NOT NULL,
    x_axis {text_c} NOT NULL,
    y_axis {text_c} NOT NULL,
    window_s BIGINT NOT NULL,
    -- UUIDs of branches, testbeds, benchmarks and measures, as a JSON object of lists.
    elements TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL
);
CREATE INDEX plot_project ON plot (project_id, position);
