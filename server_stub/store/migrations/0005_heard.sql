-- When runners were last heard of that have said nothing new: apart from what they said, which is long, so that ten thousand
-- polls that wait are written down with a few pages.

CREATE TABLE runner_heard (
    runner_id BIGINT PRIMARY KEY REFERENCES runner (id) ON DELETE CASCADE,
    heard_ms BIGINT NOT NULL
);
